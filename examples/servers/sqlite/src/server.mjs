// Notes in a SQLite database that one process can have: dev.js needs --stop-first. Needs Node 22.13 or later.
import { createServer } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

const database = new DatabaseSync(join(process.env.DATA, 'notes.db'))
database.exec('PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE IF NOT EXISTS notes (text TEXT)')
database.exec('BEGIN EXCLUSIVE; COMMIT')

const server = createServer(async (request, response) => {
  let text = ''
  for await (const chunk of request) text += chunk
  if (request.method === 'POST') database.prepare('INSERT INTO notes VALUES (?)').run(text)
  response.end(JSON.stringify(database.prepare('SELECT count(*) AS count FROM notes').get()))
})
server.listen(process.env.WARMSWAP_LISTEN)
