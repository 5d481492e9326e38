// The engine: knows which runner has which actor, keeps that and the actors' values in SQLite, and forwards requests
// over the WebSocket that each runner holds to it. Restarted, it has the same database and the same port.
//
//   ROUTE_BY=connection   the mistake of the public report (rivet-dev/rivet#4997), in small: an actor is found through
//                         the connection its runner had when it was placed. After a restart that connection is gone;
//                         requests to old actors wait until the stale entry is swept, new actors work at once.
//   ROUTE_BY=runner       the fix: an actor is found through its runner, on whatever connection that has now.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { DatabaseSync } from 'node:sqlite'
import { WebSocketServer } from 'ws'

const { PORT, DATABASE, ROUTE_BY = 'runner', SWEEP_MS = '600', WARMSWAP_RACE_NONCE: nonce } = process.env

const database = new DatabaseSync(DATABASE)
database.exec(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS actors (key TEXT PRIMARY KEY, runner TEXT NOT NULL, connection TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS commits (request TEXT PRIMARY KEY);
`)
const findActor = database.prepare('SELECT runner, connection FROM actors WHERE key = ?')
const placeActor = database.prepare('INSERT INTO actors VALUES (?, ?, ?)')
const moveActors = database.prepare('UPDATE actors SET connection = ? WHERE runner = ?')
const readCounter = database.prepare('SELECT value FROM counters WHERE key = ?')
const addToCounter = database.prepare(
  'INSERT INTO counters VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET value = value + 1',
)
const noteCommit = database.prepare('INSERT OR IGNORE INTO commits VALUES (?)')

/** Connections that are open now, by their id. */
const connections = new Map()
const pending = new Map()
const changed = new EventTarget()

const nextChange = () => new Promise((resolve) => changed.addEventListener('change', resolve, { once: true }))

/** The open connection to an actor's runner. A new actor is placed on any runner that is connected. */
async function connectionTo(key) {
  for (;;) {
    const actor = findActor.get(key)
    if (actor === undefined) {
      const [runner] = connections.values()
      if (runner !== undefined) placeActor.run(key, runner.name, runner.id)
    }
    const { runner, connection } = findActor.get(key) ?? {}
    const found =
      ROUTE_BY === 'connection'
        ? connections.get(connection)
        : [...connections.values()].find(({ name }) => name === runner)
    if (found !== undefined) return found
    await nextChange()
  }
}

async function forward(key, op, request) {
  const { socket } = await connectionTo(key)
  return await new Promise((resolve, reject) => {
    const id = randomUUID()
    pending.set(id, { resolve, reject, socket })
    socket.send(JSON.stringify({ id, key, op, request, value: readCounter.get(key)?.value ?? 0 }))
  })
}

/** A runner commits an action exactly once per request, even if it has to repeat the message after a restart. */
function commit({ key, request }) {
  if (noteCommit.run(request).changes === 1) addToCounter.run(key)
  return readCounter.get(key).value
}

const server = createServer(async ({ url }, response) => {
  const { pathname, searchParams } = new URL(url, 'http://engine')
  const answer = (status, body) =>
    response.writeHead(status, { 'x-race-nonce': nonce, 'content-type': 'application/json' }).end(JSON.stringify(body))
  try {
    if (pathname === '/health' || pathname === '/kv') return answer(200, { connections: connections.size })
    if (pathname === '/sqlite') return answer(200, database.prepare('SELECT count(*) AS actors FROM actors').get())
    const [, , key, op] = pathname.split('/')
    answer(200, { nonce, value: await forward(key, op, searchParams.get('request')) })
  } catch (error) {
    answer(502, { error: error.message })
  }
})

new WebSocketServer({ server, path: '/runner' }).on('connection', (socket, { headers }) => {
  const connection = { id: randomUUID(), name: headers['x-runner'], socket }
  connections.set(connection.id, connection)
  changed.dispatchEvent(new Event('change'))
  // Sweeps the stale entries of a runner's former connections, some time after the runner is back.
  setTimeout(() => {
    if (connections.has(connection.id)) moveActors.run(connection.id, connection.name)
    changed.dispatchEvent(new Event('change'))
  }, Number(SWEEP_MS))
  socket.on('message', (text) => {
    const message = JSON.parse(text)
    if (message.commit !== undefined)
      return socket.send(JSON.stringify({ committed: message.commit.request, value: commit(message.commit) }))
    pending.get(message.id)?.resolve(message.value)
    pending.delete(message.id)
  })
  socket.on('close', () => {
    connections.delete(connection.id)
    for (const [id, { socket: used, reject }] of pending) {
      if (used === socket && pending.delete(id)) reject(new Error('the runner is gone'))
    }
  })
})

process.on('SIGTERM', () => process.exit(0))
server.listen(Number(PORT), '127.0.0.1')
