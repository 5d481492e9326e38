/**
 * Clients of one server while it reloads: short requests, streams and WebSockets. storm-apps.mjs has the servers.
 *
 * node storm-load.mjs <url> <requests> <streams> <sockets>   with an IPC channel. Messages to it: { least }, a version that
 * serves from now on, and 'stop'. It sends 'ready' once each client has had an answer, and at the end its report.
 *
 * Times are microseconds of the monotonic clock, which the processes of one machine share.
 */

import http from 'node:http'
import { WebSocket } from 'ws'

const [address, requests, streams, sockets] = process.argv.slice(2)
const url = new URL(address)
const now = () => Number(process.hrtime.bigint() / 1000n)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Most examples of one kind of failure that are reported. */
const MOST = 20
const report = {
  short: { sent: 0, answered: 0, old: 0, failed: 0, reasons: {}, examples: [], times: [], timesWithConnect: [] },
  streams: { opened: 0, whole: 0, failed: 0, reasons: {}, examples: [], cuts: [] },
  sockets: { opened: 0, echoed: 0, failed: 0, reasons: {}, examples: [], closes: [] },
}
/** The version that each answer has at least. */
let least = 0
let isOver = false

function fail(kind, example) {
  const reason = String(example.status ?? example.code)
  report[kind].failed += 1
  report[kind].reasons[reason] = (report[kind].reasons[reason] ?? 0) + 1
  if (report[kind].examples.length < MOST) report[kind].examples.push(example)
}

const kept = new http.Agent({ keepAlive: true })

/** Resolves with the answer once its head is there. */
function ask(path, { method = 'GET', agent = false, body } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { path, method, agent })
    request.once('error', reject).once('response', resolve).end(body)
  })
}

let ids = 0

/** One request after the other. Each second client has a connection of its own for each request. */
async function askShort(client) {
  ids += 1
  const id = ids
  const method = id % 3 === 0 ? 'POST' : 'GET'
  const before = least
  const agent = client % 2 === 0 && kept
  const started = now()
  report.short.sent += 1
  try {
    const response = await ask(`/short?id=${id}`, { method, agent, body: method === 'POST' ? 'x' : undefined })
    let text = ''
    for await (const chunk of response.setEncoding('utf8')) text += chunk
    const [answeredId, version] = text.split(' ')
    if (response.statusCode !== 200) {
      const code = response.headers['x-warmswap-error']
      return fail('short', { method, id, status: response.statusCode, code, text: text.slice(0, 200) })
    }
    if (Number(answeredId) !== id) return fail('short', { method, id, text: text.slice(0, 200) })
    report.short.answered += 1
    if (Number(version) < before) report.short.old += 1
    report.short[agent ? 'times' : 'timesWithConnect'].push(now() - started)
  } catch (error) {
    fail('short', { method, id, code: error.code, message: error.message })
  }
}

/** A stream of numbered parts. Every fourth client has one without an end. */
async function readStream(client) {
  const parts = client % 4 === 0 ? 1e9 : 25
  report.streams.opened += 1
  let head
  try {
    const response = await ask(`/stream?parts=${parts}`)
    if (response.statusCode !== 200) return fail('streams', { status: response.statusCode })
    head = response.headers['x-version']
    let next = 0
    let rest = ''
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()
      for (const line of lines) if (line !== String(next++)) return fail('streams', { expected: next - 1, line })
      if (isOver && parts === 1e9) return response.destroy()
    }
    if (next !== parts) return fail('streams', { message: 'ended early', next, parts })
    report.streams.whole += 1
  } catch (error) {
    if (head === undefined) fail('streams', { code: error.code, message: error.message })
    else report.streams.cuts.push({ version: Number(head), at: now(), isEndless: parts === 1e9 })
  }
}

/** Sends numbered messages, one after the other, until the socket is closed. */
async function useSocket() {
  const socket = new WebSocket(Object.assign(new URL(url), { protocol: 'ws:', pathname: '/socket' }))
  let next = 0
  let version
  let isOpen = false
  let failure
  let timer
  socket.on('open', () => {
    isOpen = true
    report.sockets.opened += 1
    socket.send('0')
  })
  socket.on('message', (data) => {
    const [from, count] = String(data).split(' ')
    version ??= from
    if (from !== version || Number(count) !== next) fail('sockets', { version, next, data: String(data) })
    next += 1
    report.sockets.echoed += 1
    if (isOver) socket.close()
    else timer = setTimeout(() => socket.send(String(next)), 30)
  })
  socket.on('error', (error) => (failure = error))
  const code = await new Promise((resolve) => socket.on('close', resolve))
  clearTimeout(timer)
  if (!isOpen) fail('sockets', { code, message: failure?.message })
  else if (!isOver) report.sockets.closes.push({ version: Number(version ?? -1), at: now(), code })
}

const clients = []
function run(count, pauseMs, once) {
  for (let client = 0; client < Number(count); client += 1) {
    clients.push(
      (async () => {
        while (!isOver) {
          await once(client)
          await pause(pauseMs)
        }
      })(),
    )
  }
}

process.on('message', async (message) => {
  if (message !== 'stop') {
    least = message.least
    return
  }
  isOver = true
  await Promise.all(clients)
  process.send(report, () => process.disconnect())
})

// Without its parent nobody would end it.
process.on('disconnect', () => process.exit())

run(requests, 50, askShort)
run(streams, 50, readStream)
run(sockets, 5, useSocket)
while (
  report.short.answered + report.short.failed < Number(requests) ||
  report.streams.whole + report.streams.failed < Number(streams) / 2 ||
  report.sockets.echoed + report.sockets.failed < Number(sockets)
)
  await pause(5)
process.send('ready')
