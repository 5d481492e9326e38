// The race kit as a user's vitest suite has it: one server that is started, asked and killed.
import { expect } from 'vitest'
import { test } from 'warmswap/vitest'

test('starts a server and kills it', async ({ race }) => {
  const port = await race.port()
  const program = `require('node:http').createServer((request, response) => response.end('up')).listen(process.env.PORT, '127.0.0.1')`
  const server = await race.start({
    command: [process.execPath, '-e', program],
    port,
    ready: { http: `http://127.0.0.1:${port.number}/` },
  })
  expect(server.pid).toBeGreaterThan(0)
  await server.kill()
})
