/** Lets a build import what it built by the configured path, with `import()`, with `require()` and in workers. */

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import * as module from 'node:module'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import workerThreads, { MessageChannel, type MessagePort } from 'node:worker_threads'
import { isSeeded } from '../../../native/seeded-bugs.js'
import { isInsideBuild, shownViews, type View, workPath } from './views.js'

interface Resolved {
  url: string
  format?: string | null
}

type RegisterHooks = (hooks: {
  resolve(
    specifier: string,
    context: { parentURL?: string },
    next: (specifier: string, context: unknown) => Resolved,
  ): Resolved
}) => { deregister(): void }

/** Node 22.15 and later. */
const registerHooks = (module as { registerHooks?: RegisterHooks }).registerHooks
let remove: (() => void) | undefined
let port: MessagePort | undefined

/** Redirects imports below the shown views. */
export function redirectImports(): void {
  if (registerHooks) remove ??= redirectInThread(registerHooks)
  else redirectOffThread(shownViews())
  remove ??= () => {}
  replaceWorker()
}

/** Ends it, when no view is shown any more. */
export function restoreImports(): void {
  if (shownViews().length > 0) {
    if (!registerHooks) redirectOffThread(shownViews())
    return
  }
  remove?.()
  remove = undefined
  if (!registerHooks) redirectOffThread([])
  restoreWorker()
}

function redirectInThread(register: RegisterHooks): () => void {
  const hooks = register({
    resolve(specifier, context, next) {
      const url = isInsideBuild() ? workUrl(specifier, context.parentURL) : undefined
      return next(url ?? specifier, context)
    },
  })
  return () => hooks.deregister()
}

function workUrl(specifier: string, parent: string | undefined): string | undefined {
  let path: string | undefined
  try {
    if (specifier.startsWith('file:')) path = fileURLToPath(specifier)
    else if (isAbsolute(specifier)) path = specifier
    else if (/^\.\.?\//.test(specifier) && parent?.startsWith('file:'))
      path = resolve(dirname(fileURLToPath(parent)), specifier)
  } catch {
    return undefined
  }
  const work = path === undefined ? undefined : workPath(path)
  if (work === undefined || !existsSync(work)) return undefined
  const query = /[?#].*$/.exec(specifier)?.[0] ?? ''
  return pathToFileURL(work).href + (specifier.startsWith('file:') ? query : '')
}

/** Before registerHooks() hooks run in a thread of their own, which reads the views before each import. */
const OFF_THREAD = `import { receiveMessageOnPort } from 'node:worker_threads'
let port, views = []
export function initialize(data) { port = data.port; views = data.views }
export async function resolve(specifier, context, next) {
  for (let message; (message = receiveMessageOnPort(port)); ) views = message.message
  if (views.length > 0) {
    let url
    try { url = new URL(specifier.startsWith('/') ? 'file://' + specifier : specifier, /^(\\.|file:)/.test(specifier) ? context.parentURL : undefined).href } catch {}
    for (const { from, to } of url ? views : []) if (url.startsWith(from + '/')) return await next(to + url.slice(from.length), context)
  }
  return await next(specifier, context)
}`

function redirectOffThread(shown: View[]): void {
  const views = shown.map(({ from, to }) => ({ from: pathToFileURL(from).href, to: pathToFileURL(to).href }))
  if (port) port.postMessage(views)
  if (port || views.length === 0) return
  const { port1, port2 } = new MessageChannel()
  module.register(`data:text/javascript,${encodeURIComponent(OFF_THREAD)}`, {
    data: { port: port2, views },
    transferList: [port2],
  })
  port1.unref()
  port = port1
}

const OriginalWorker = workerThreads.Worker

/** A worker that a hook of the build starts belongs to the build. */
function replaceWorker(): void {
  if (workerThreads.Worker !== OriginalWorker) return
  workerThreads.Worker = class Worker extends OriginalWorker {
    constructor(filename: string | URL, options: ConstructorParameters<typeof OriginalWorker>[1] = {}) {
      super(filename, isInsideBuild() ? withViews(options) : options)
    }
  }
  module.syncBuiltinESMExports()
}

function restoreWorker(): void {
  if (workerThreads.Worker === OriginalWorker) return
  workerThreads.Worker = OriginalWorker
  module.syncBuiltinESMExports()
}

type WorkerOptions = NonNullable<ConstructorParameters<typeof OriginalWorker>[1]>

function withViews(options: WorkerOptions): WorkerOptions {
  if (__WARMSWAP_TESTING__ && isSeeded('out-dir-unseen-by-workers')) return options
  const preload = new URL('./out-dir-worker.js', import.meta.url)
  preload.searchParams.set('views', JSON.stringify(shownViews()))
  return { ...options, execArgv: [...(options.execArgv ?? process.execArgv), '--import', preload.href] }
}

/** The id of a module below a configured path, for Vite: with that path, because the one of the work directory changes. */
export function resolveInView(source: string, importer: string | undefined, root: string): string | undefined {
  if (shownViews().length === 0 || source.startsWith('\0')) return undefined
  const [, path = source, query = ''] = /^([^?]*)(\?.*)?$/.exec(source) ?? []
  const from = importer !== undefined && isAbsolute(importer) ? dirname(importer.replace(/\?.*$/, '')) : root
  const candidates = path.startsWith('.') ? [resolve(from, path)] : isAbsolute(path) ? [path, join(root, path)] : []
  const found = candidates.find((candidate) => {
    const work = workPath(candidate)
    return work !== undefined && existsSync(work)
  })
  return found === undefined ? undefined : found + query
}

const TEXT = /\.(?:[cm]?[jt]sx?|json|css)$/

/** The code of a module that resolveInView() found. */
export async function loadInView(id: string): Promise<string | undefined> {
  const [, path = id, query = ''] = /^([^?]*)(\?.*)?$/.exec(id) ?? []
  const work = isAbsolute(path) ? workPath(path) : undefined
  if (work === undefined) return undefined
  const isRaw = /[?&]raw(?:&|$)/.test(query)
  if (!isRaw && (query !== '' || !TEXT.test(path))) return undefined
  const text = await readFile(work, 'utf8')
  return isRaw ? `export default ${JSON.stringify(text)}` : text
}
