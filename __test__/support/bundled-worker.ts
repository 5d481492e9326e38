/** Generations with worker programs in them, for the coordinator's tests. */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type BundleStore, type Generation } from 'warmswap'
import { repository } from './paths.js'

const warmswap = pathToFileURL(join(repository, 'dist/worker.js')).href

/** Publishes a generation whose `worker.mjs` serves requests with this handler body (`request`, `incarnation`, `signal`, `version`). */
export async function publishWorker(store: BundleStore, version: string, body: string, before = ''): Promise<Generation> {
  const stage = await store.stage()
  await stage.write(
    'worker.mjs',
    `import { serveRequests } from ${JSON.stringify(warmswap)}
import { appendFileSync } from 'node:fs'
import { isMainThread, threadId } from 'node:worker_threads'
const version = ${JSON.stringify(version)}
${before}
serveRequests(async (request, { incarnation, signal }) => { ${body} })
`,
  )
  return stage.publish()
}
