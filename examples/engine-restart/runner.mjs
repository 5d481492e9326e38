// A serverless runner: holds a WebSocket to the engine, reconnects when it breaks, and runs actions of actors.
// BEFORE_COMMIT is a URL that it requests before an action is committed: the test's rendezvous.
import { setTimeout as sleep } from 'node:timers/promises'
import WebSocket from 'ws'

const { ENGINE, NAME, BEFORE_COMMIT } = process.env
const RECONNECT_MS = 10

/** Actions whose commit has not been acknowledged. They are sent again on each new connection. */
const uncommitted = new Map()
let socket

function commit(key, request) {
  return new Promise((resolve) => {
    uncommitted.set(request, { key, resolve })
    tryCommit(request)
  })
}

function tryCommit(request) {
  if (socket?.readyState === WebSocket.OPEN)
    socket.send(JSON.stringify({ commit: { key: uncommitted.get(request).key, request } }))
}

const operations = {
  read: async ({ value }) => value,
  ping: async () => 'pong',
  increment: async ({ key, request }) => {
    if (BEFORE_COMMIT) await fetch(BEFORE_COMMIT)
    return await commit(key, request)
  },
}

async function receive(own, text) {
  const message = JSON.parse(text)
  if (message.committed !== undefined) {
    uncommitted.get(message.committed)?.resolve(message.value)
    uncommitted.delete(message.committed)
    return
  }
  const value = await operations[message.op](message)
  if (own.readyState === WebSocket.OPEN) own.send(JSON.stringify({ id: message.id, value }))
}

for (;;) {
  await new Promise((resolve) => {
    const own = new WebSocket(`${ENGINE.replace('http', 'ws')}/runner`, { headers: { 'x-runner': NAME } })
    own.on('open', () => {
      socket = own
      console.log('CONNECTED')
      for (const request of uncommitted.keys()) tryCommit(request)
    })
    own.on('message', (text) => void receive(own, text))
    own.on('error', () => {})
    own.on('close', resolve)
  })
  await sleep(RECONNECT_MS)
}
