// The gateway: forwards requests and WebSockets of clients to the engine by key, each on a connection of its own.
import { createServer, request as httpRequest } from 'node:http'
import { WebSocketServer } from 'ws'

const { PORT, ENGINE } = process.env

/** Sends one request to the engine, and returns its answer unchanged. */
function askEngine(path) {
  return new Promise((resolve, reject) => {
    httpRequest(`${ENGINE}${path}`, { agent: false }, (response) => {
      let body = ''
      response.on('data', (text) => (body += text)).on('end', () => resolve({ status: response.statusCode, body }))
    })
      .on('error', reject)
      .end()
  })
}

const server = createServer(async ({ url }, response) => {
  if (url === '/health') return response.end('ok')
  const { status, body } = await askEngine(url).catch((error) => ({
    status: 502,
    body: JSON.stringify({ error: error.code }),
  }))
  response.writeHead(status, { 'content-type': 'application/json' }).end(body)
})

new WebSocketServer({ server }).on('connection', (socket, { url }) => {
  socket.on('message', async (op) => {
    const answer = await askEngine(`${url}/${op}`).catch(() => undefined)
    if (answer === undefined) socket.terminate()
    else socket.send(answer.body)
  })
})

server.listen(Number(PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
