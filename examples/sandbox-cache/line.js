// The network between a sandbox and its bucket: a TCP connection that can be cut, or fall silent, after some bytes.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { Transform, pipeline } from 'node:stream'

export async function openLine(port) {
  const sockets = new Set()
  let isDown = false
  let fault

  const server = createServer((client) => {
    if (isDown) return client.resetAndDestroy()
    const upstream = connect(port, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    }
    const end = () => [client, upstream].forEach((socket) => socket.destroy())
    pipeline(client, gate('up'), upstream, end)
    pipeline(upstream, gate('down'), client, end)
  })

  function gate(direction) {
    return new Transform({
      transform(chunk, _encoding, done) {
        if (fault?.direction !== direction) return done(null, chunk)
        fault.left -= chunk.length
        if (fault.left >= 0) return done(null, chunk)
        // A silent line keeps its connection and delivers nothing.
        if (fault.what === 'silent') return
        isDown = true
        for (const socket of sockets) socket.resetAndDestroy()
      },
    })
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cutAfter: (direction, bytes) => (fault = { what: 'cut', direction, left: bytes }),
    silentAfter: (direction, bytes) => (fault = { what: 'silent', direction, left: bytes }),
    mend() {
      fault = undefined
      isDown = false
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      this.mend()
      server.close()
      await once(server, 'close')
    },
  }
}
