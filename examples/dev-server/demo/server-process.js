// A dev server as a child process, with its events.
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const serverFile = fileURLToPath(new URL('../server.js', import.meta.url))

export class ServerProcess extends EventEmitter {
  events = []
  /** The latest revision that this server reported as served. */
  published = 0
  stderr = ''

  constructor({ way, app, snapshot, port = 0 }) {
    super()
    this.child = spawn(
      process.execPath,
      [serverFile, '--way', way, '--app', app, '--snapshot', snapshot, '--port', String(port)],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr = (this.stderr + text).slice(-4000)))
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      const event = JSON.parse(line)
      this.events.push(event)
      if (event.event === 'published') this.published = Math.max(this.published, event.revision)
      this.emit(event.event, event)
    })
    this.ended = once(this.child, 'close')
  }

  /** Resolves with the event. Rejects if the server ends before it. */
  async next(name) {
    const known = this.events.find(({ event }) => event === name)
    if (known) return known
    const died = this.ended.then(([code, signal]) => {
      throw new Error(`the server ended (${signal ?? code}) before '${name}'\n${this.stderr}`)
    })
    const [event] = await Promise.race([once(this, name), died])
    return event
  }

  async kill(signal) {
    this.child.kill(signal)
    await this.ended
  }
}
