// @module-tag system
/** examples/servers: servers that know nothing of warmswap, over reloads. With WARMSWAP_LONG=1: the chat over 50 reloads. */

import { cpSync, existsSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'vitest'
import { type Race, test } from 'warmswap/vitest'
import { repository } from '../support/paths.js'

const folder = join(repository, 'examples/servers')
const reloads = process.env.WARMSWAP_LONG === '1' ? 50 : 8

interface DevServer {
  url: string
  stderr(): string
  /** Changes the source. */
  edit(change: (source: string) => string): void
  /** Resolves once `count` reloads have ended. */
  reloaded(count: number): Promise<void>
}

/** Runs dev.js on a copy of one of the examples. */
async function develop(race: Race, project: string, args: string[] = [], node = process.execPath): Promise<DevServer> {
  symlinkSync(join(repository, 'node_modules'), join(project, 'node_modules'))
  const instance = await race.start({
    command: [node, join(folder, 'dev.js'), project, ...args],
    ready: { line: /^http/ },
  })
  const [url = ''] = /^http.*/m.exec(instance.output.stdout) ?? []
  const file = join(project, 'src/server.mjs')
  return {
    url,
    stderr: () => instance.output.stderr,
    edit(change) {
      // A write in place is empty for a moment. A build of that moment has no server, and its requests get 503.
      const next = join(project, 'next.mjs')
      writeFileSync(next, change(readFileSync(file, 'utf8')))
      renameSync(next, file)
    },
    async reloaded(count) {
      // The first one is the start.
      const ended = (): number => instance.output.stdout.split('reloaded').length - 2
      await expect.poll(ended, { timeout: 60_000 }).toBeGreaterThanOrEqual(count)
    },
  }
}

test('an unchanged Fastify server that listens on PORT is reloaded', async ({ race, tempRoot }) => {
  cpSync(join(folder, 'fastify'), tempRoot, { recursive: true })
  const server = await develop(race, tempRoot)
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}' }
  expect(await (await fetch(new URL('/echo', server.url), post)).json()).toEqual({ echo: { a: 1 } })
  expect(await (await fetch(server.url)).json()).toEqual({ hello: 'world' })
  server.edit((source) => source.replace('world', 'edit'))
  await server.reloaded(1)
  expect(await (await fetch(server.url)).json()).toEqual({ hello: 'edit' })
})

test(`a chat over ${reloads} reloads: each client has each message once, in one order`, {
  timeout: 30_000 * reloads,
}, async ({ race, tempRoot }) => {
  cpSync(join(folder, 'chat'), tempRoot, { recursive: true })
  const { ChatClient } = await import(pathToFileURL(join(folder, 'chat/client.js')).href)
  const server = await develop(race, tempRoot)
  const clients = [1, 2, 3].map(() => new ChatClient(server.url))
  let isReloading = true
  const said: string[] = []
  const talking = clients.map(async (client, index) => {
    for (let count = 0; isReloading; count += 1) {
      said.push(`${index}-${count}`)
      await client.say(`${index}-${count}`, 'hello')
    }
  })
  for (let count = 1; count <= reloads; count += 1) {
    server.edit((source) => `${source}// ${count}\n`)
    await server.reloaded(count)
  }
  isReloading = false
  await Promise.all(talking)
  for (const client of clients) {
    await expect.poll(() => client.messages.length, { timeout: 20_000 }).toBe(said.length)
    const ids: string[] = client.messages.map(({ id }: { id: string }) => id)
    expect([...ids].sort()).toEqual([...said].sort())
    expect(client.messages).toEqual(clients[0].messages)
  }
  expect(clients.flatMap(({ closes }) => closes).filter((code: number) => code !== 1012)).toEqual([])
  expect(clients[0].closes.length).toBeGreaterThan(0)
  for (const client of clients) client.close()
})

// node:sqlite needs Node 22.13.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const hasSqlite = major > 22 || (major === 22 && minor >= 13)
const node22 = join(repository, 'node_modules/node22-linux-x64/bin/node')
const node = hasSqlite ? process.execPath : existsSync(node22) ? node22 : undefined

test.skipIf(node === undefined)(
  'a SQLite database that one process can have: stop-first loses no write',
  async ({ race, tempRoot }) => {
    cpSync(join(folder, 'sqlite'), tempRoot, { recursive: true })
    const server = await develop(race, tempRoot, ['--stop-first'], node)
    const statuses: number[] = []
    let isReloading = true
    const writers = [1, 2, 3].map(async () => {
      while (isReloading) {
        const response = await fetch(server.url, { method: 'POST', body: 'a note' })
        await response.text()
        statuses.push(response.status)
      }
    })
    for (let count = 1; count <= 3; count += 1) {
      const before = statuses.length
      server.edit((source) => `${source}// ${count}\n`)
      await server.reloaded(count)
      await expect.poll(() => statuses.length, { timeout: 20_000 }).toBeGreaterThan(before)
    }
    isReloading = false
    await Promise.all(writers)
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    expect(await (await fetch(server.url)).json()).toEqual({ count: statuses.length })
  },
)

test.skipIf(node === undefined)(
  'a SQLite database that one process can have: without stop-first the new worker cannot open it',
  async ({ race, tempRoot }) => {
    cpSync(join(folder, 'sqlite'), tempRoot, { recursive: true })
    const server = await develop(race, tempRoot, [], node)
    server.edit((source) => `${source}// edited\n`)
    await expect.poll(server.stderr, { timeout: 60_000 }).toMatch(/not reloaded: [\s\S]*database is locked/)
    expect((await fetch(server.url)).status).toBe(200)
  },
)
