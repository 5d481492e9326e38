/** A server that gets one write of an object at a time. */

// @ts-expect-error: a script without types
import { serializeWrites } from '../../bench/lib/serializing-proxy.js'
import { at, type BucketLocation, type BucketServer } from './servers.js'

export async function serialize(server: BucketServer): Promise<BucketServer> {
  const proxy = (await serializeWrites(server.endpoint)) as { endpoint: string; stop(): void }
  return {
    endpoint: proxy.endpoint,
    store: (prefix): BucketLocation => at(server.store(prefix), proxy.endpoint),
    async stop() {
      proxy.stop()
      await server.stop()
    },
  }
}
