/** An S3 server that gets one write of an object at a time. */

// @ts-expect-error: a script without types
import { serializeWrites } from '../../bench/lib/serializing-proxy.js'
import type { S3Location, S3Server } from './s3.js'

export async function serialize(server: S3Server): Promise<S3Server> {
  const proxy = (await serializeWrites(server.endpoint)) as { endpoint: string; stop(): void }
  return {
    endpoint: proxy.endpoint,
    store: (prefix): S3Location => ({ ...server.store(prefix), endpoint: proxy.endpoint }),
    async stop() {
      proxy.stop()
      await server.stop()
    },
  }
}
