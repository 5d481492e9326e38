/**
 * A proxy before an S3 server that checks a condition and then writes (s3s-fs 0.14.1: two winners in 49 of 50 races; moto
 * 5.2: rarely). The proxy hands the server one write of an object at a time.
 */

import { once } from 'node:events'
import { createServer, request as forward } from 'node:http'
import type { AddressInfo } from 'node:net'
import { at, type BucketLocation, type BucketServer } from './servers.js'

/** Starts the proxy. Signatures cover the host, so the proxy forwards it as it is. */
export async function serialize(server: BucketServer): Promise<BucketServer> {
  const target = new URL(server.endpoint)
  const writes = new Map<string, Promise<unknown>>()
  const proxy = createServer((incoming, outgoing) => {
    const send = (): Promise<void> =>
      new Promise((done) => {
        const upstream = forward(
          {
            host: target.hostname,
            port: target.port,
            method: incoming.method,
            path: incoming.url,
            headers: incoming.headers,
          },
          (answer) => {
            outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
            answer.pipe(outgoing)
            // A client that does not wait for the answer must not block the writes that follow.
            outgoing.on('close', () => answer.unpipe(outgoing).resume())
            answer.on('close', done)
          },
        )
        upstream.on('error', () => {
          outgoing.destroy()
          done()
        })
        incoming.on('close', () => incoming.complete || upstream.destroy())
        incoming.pipe(upstream)
      })
    if (incoming.method !== 'PUT' && incoming.method !== 'POST') return void send()
    const path = (incoming.url ?? '').split('?')[0] as string
    const before = writes.get(path) ?? Promise.resolve()
    writes.set(path, before.then(send))
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  return {
    endpoint,
    store: (prefix): BucketLocation => at(server.store(prefix), endpoint),
    async stop() {
      proxy.closeAllConnections()
      proxy.close()
      await server.stop()
    },
  }
}
