// A proxy before an S3 server that checks a condition and then writes (s3s-fs 0.14.1: two winners in 49 of 50 races; moto
// 5.2: rarely). It hands the server one write of an object at a time.
import { once } from 'node:events'
import { createServer, request as forward } from 'node:http'

/**
 * Starts the proxy. Signatures cover the host, so the proxy forwards it as it is. `observe` is called with each request
 * that the server has answered: its method, path, status, the access key of the caller, and when the answer came.
 */
export async function serializeWrites(endpoint, observe = () => {}) {
  const { hostname: host, port } = new URL(endpoint)
  const writes = new Map()

  /** A request that has arrived as a whole is sent, also if its client was killed in the meantime. */
  async function send({ method, url, headers }, body, outgoing) {
    try {
      const upstream = forward({ host, port, method, path: url, headers })
      upstream.end(body)
      const [answer] = await once(upstream, 'response')
      const bytes = await read(answer)
      const [, caller = ''] = /Credential=([^/]*)/.exec(headers.authorization ?? '') ?? []
      observe({ method, path: pathOf(url), status: answer.statusCode, caller, at: performance.now() })
      if (!outgoing.destroyed) outgoing.writeHead(answer.statusCode, answer.headers).end(bytes)
    } catch {
      outgoing.destroy()
    }
  }

  const proxy = createServer(async (incoming, outgoing) => {
    const body = await read(incoming).catch(() => {})
    if (body === undefined) return
    const run = () => send(incoming, body, outgoing)
    if (incoming.method !== 'PUT' && incoming.method !== 'POST') return void run()
    const path = pathOf(incoming.url)
    writes.set(path, (writes.get(path) ?? Promise.resolve()).then(run))
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return {
    endpoint: `http://127.0.0.1:${proxy.address().port}`,
    stop() {
      proxy.closeAllConnections()
      proxy.close()
    },
  }
}

const pathOf = (url) => url.split('?')[0]

async function read(stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces)
}
