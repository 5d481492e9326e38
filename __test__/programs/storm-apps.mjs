/**
 * The servers of a storm, as texts of programs. Each answers GET and POST /short, GET /stream, and the WebSocket /socket,
 * and writes to `log` which request it has begun.
 */

/** An HTTP server that knows nothing of warmswap. `on`: the arguments of listen(). */
export function listeningApp({ version, log, on = 'process.env.WARMSWAP_LISTEN' }) {
  return `import { appendFileSync } from 'node:fs'
import http from 'node:http'
import { WebSocketServer } from ${JSON.stringify(import.meta.resolve('ws'))}
const version = ${version}
const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://x')
  if (pathname === '/short') {
    const id = searchParams.get('id')
    appendFileSync(${JSON.stringify(log)}, request.method + ' ' + id + '\\n')
    request.resume().on('end', () => response.end(id + ' ' + version))
    return
  }
  response.writeHead(200, { 'x-version': version })
  let next = 0
  const timer = setInterval(() => {
    if (next === Number(searchParams.get('parts'))) return void response.end()
    response.write(next++ + '\\n')
  }, 10)
  response.on('close', () => clearInterval(timer))
})
const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket) => {
  socket.on('error', () => {})
  socket.on('message', (data) => socket.send(version + ' ' + data))
})
server.listen(${on})
`
}

/** A handler of Fetch, without the WebSocket. `register` takes it. */
export function fetchApp({ version, log, before, register }) {
  return `import { appendFileSync } from 'node:fs'
${before}
const version = ${version}
const handler = async (request) => {
  const { pathname, searchParams } = new URL(request.url)
  if (pathname === '/short') {
    const id = searchParams.get('id')
    appendFileSync(${JSON.stringify(log)}, request.method + ' ' + id + '\\n')
    await request.text()
    return new Response(id + ' ' + version)
  }
  let next = 0
  const body = new ReadableStream({
    async pull(controller) {
      if (next === Number(searchParams.get('parts'))) return controller.close()
      await new Promise((resolve) => setTimeout(resolve, 10))
      controller.enqueue(new TextEncoder().encode(next++ + '\\n'))
    },
  })
  return new Response(body, { headers: { 'x-version': String(version) } })
}
${register}
`
}
