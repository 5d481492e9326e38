/** Coordinators of a store, and generations with worker programs in them. */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  type BundleStore,
  type Coordinator,
  type CoordinatorOptions,
  type Generation,
  openCoordinator,
  startProcess,
  startWorkerThread,
} from 'warmswap'
import { repository } from './paths.js'
import { test as base, publish } from './stores.js'

const warmswap = pathToFileURL(join(repository, 'dist/worker.js')).href

/** Publishes a generation whose `worker.mjs` serves requests with this handler body (`request`, `incarnation`, `signal`, `version`). */
export async function publishWorker(
  store: BundleStore,
  version: string,
  body: string,
  before = '',
): Promise<Generation> {
  const program = `import { serveRequests } from ${JSON.stringify(warmswap)}
import { appendFileSync } from 'node:fs'
import { isMainThread, threadId } from 'node:worker_threads'
const version = ${JSON.stringify(version)}
${before}
serveRequests(async (request, { incarnation, signal }) => { ${body} })
`
  return await publish(store, { 'worker.mjs': program })
}

/** Publishes a generation whose `worker.mjs` answers HTTP requests with this handler body (`request`, `context`, `version`). */
export async function publishFetchWorker(
  store: BundleStore,
  version: string,
  body: string,
  before = '',
): Promise<Generation> {
  const program = `import { serveFetch } from ${JSON.stringify(warmswap)}
const version = ${JSON.stringify(version)}
${before}
serveFetch(async (request, context) => { ${body} })
`
  return await publish(store, { 'worker.mjs': program })
}

export type Start = CoordinatorOptions<unknown, unknown>['start']
/** The two ways to run such a worker. */
export const thread: Start = (context) => startWorkerThread(context, 'worker.mjs')
export const child: Start = (context) => startProcess(context, 'worker.mjs')

// biome-ignore lint/suspicious/noExplicitAny: each test knows what its worker answers.
type Anything = any

/** With a store, and coordinators that are closed before it. */
export const test = base.extend<{
  open: (start: Start, options?: Partial<CoordinatorOptions<unknown, unknown>>) => Coordinator<unknown, Anything>
}>({
  open: async ({ store }, use) => {
    const opened: Coordinator[] = []
    await use((start, options) => {
      const coordinator = openCoordinator<unknown, Anything>(store, { start, ...options })
      opened.push(coordinator as Coordinator)
      return coordinator
    })
    for (const coordinator of opened) await coordinator[Symbol.asyncDispose]()
  },
})
