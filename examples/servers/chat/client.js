// A client of the chat that survives reloads: it connects again, and sends again what it has not seen in the history.
import { WebSocket } from 'ws'

export class ChatClient {
  /** All messages, in the order of the history. */
  messages = []
  /** Codes of the closes that the server has made. */
  closes = []
  #url
  #socket
  #unseen = new Map()
  #isClosed = false

  constructor(url) {
    this.#url = url
    this.#connect()
  }

  /** Resolves once the message is in the history. */
  say(id, text) {
    return new Promise((resolve) => {
      this.#unseen.set(id, { text, resolve })
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ id, text }))
    })
  }

  close() {
    this.#isClosed = true
    this.#socket.close()
  }

  #connect() {
    const socket = new WebSocket(`${this.#url.replace(/^http/, 'ws')}/?since=${this.messages.length}`)
    this.#socket = socket
    socket.on('open', () => {
      for (const [id, { text }] of this.#unseen) socket.send(JSON.stringify({ id, text }))
    })
    socket.on('message', (line) => {
      const message = JSON.parse(line)
      this.messages.push(message)
      this.#unseen.get(message.id)?.resolve()
      this.#unseen.delete(message.id)
    })
    socket.on('error', () => {})
    socket.on('close', (code) => {
      if (this.#isClosed) return
      this.closes.push(code)
      this.#connect()
    })
  }
}
