// A chat over WebSockets. Its history is a file, because two workers serve during a reload.
import { appendFileSync, openSync, readSync, watchFile } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { WebSocketServer } from 'ws'

const file = join(process.env.DATA, 'history.jsonl')
const history = openSync(file, 'a+')
const lines = []
const ids = new Set()
const members = new Set()
let rest = ''
let position = 0

/** Sends what any worker has added to the file. A client may have sent a message to two workers: the first one counts. */
function readOn() {
  const buffer = Buffer.alloc(65_536)
  let read = 1
  while (read > 0) {
    read = readSync(history, buffer, 0, buffer.length, position)
    position += read
    rest += buffer.toString('utf8', 0, read)
  }
  const added = rest.split('\n')
  rest = added.pop()
  for (const line of added) {
    const { id } = JSON.parse(line)
    if (ids.has(id)) continue
    ids.add(id)
    lines.push(line)
    for (const member of members) member.send(line)
  }
}

const server = createServer((_request, response) => response.end('a chat\n'))
const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket, request) => {
  socket.on('error', () => {})
  // A client that connects again says how many messages it has.
  const since = Number(new URL(request.url, 'http://x').searchParams.get('since') ?? 0)
  readOn()
  for (const line of lines.slice(since)) socket.send(line)
  members.add(socket)
  socket.on('close', () => members.delete(socket))
  socket.on('message', (data) => {
    const { id, text } = JSON.parse(data)
    appendFileSync(file, `${JSON.stringify({ id, text })}\n`)
    readOn()
  })
})
watchFile(file, { interval: 50 }, readOn)
server.listen(process.env.WARMSWAP_LISTEN)
