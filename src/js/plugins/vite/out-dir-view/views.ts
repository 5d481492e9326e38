/**
 * Lets a build see its work directory at the configured output path.
 *
 * A later environment, a plugin or an adapter reads and writes by the configured path, often one that it read in a
 * `config` hook or has as a constant. Readers of the published path, which is the same, must see the previous
 * generation until the build ends. So calls of `node:fs` are redirected, but only those made by a hook of the build: an
 * `AsyncLocalStorage` follows each hook. Other code of the process sees the published tree.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isSeeded } from '../../../native/seeded-bugs.js'

/** A configured path, and the directory that the build sees there. */
export interface View {
  from: string
  to: string
}

type Call = (...args: unknown[]) => unknown
type Api = Record<string, Call | undefined>

const scope = new AsyncLocalStorage<boolean>()
const views = new Set<View>()
const replaced: { api: Api; name: string; original: Call; wrapper: Call }[] = []
/** In a worker of a build everything belongs to the build. */
let isWorker = false
/** Everything in this thread belongs to the build, except what runs outside it. */
let isWholeThread = false

/** Runs `work` as part of the build: it sees the work directory. */
export function insideBuild<T>(work: () => T): T {
  return scope.run(true, work)
}

/** Runs `work` like other code: it sees the published tree. */
export function outsideBuild<T>(work: () => T): T {
  return scope.run(false, work)
}

/** Whether the caller is a part of the build. */
export function isInsideBuild(): boolean {
  return scope.getStore() ?? (isWholeThread || (__WARMSWAP_TESTING__ && isSeeded('out-dir-seen-outside')))
}

/** Whether this is a worker of a build. */
export function isBuildWorker(): boolean {
  return isWorker
}

/** The views that are shown. */
export function shownViews(): View[] {
  return [...views]
}

/** Shows a directory at a path, until it is hidden. */
export function showView(view: View): void {
  if (views.size === 0) replaceCalls()
  views.add(view)
}

export function hideView(view: View): void {
  if (!views.delete(view) || views.size > 0) return
  isWholeThread = isWorker
  restoreCalls()
}

/** Shows the views to everything in this thread, until the last one is hidden. */
export function showToAll(): void {
  isWholeThread = true
}

/** Shows directories to everything in this thread, for a worker of a build. */
export function showInThread(shown: View[]): void {
  isWorker = true
  isWholeThread = true
  for (const view of shown) showView(view)
}

/** The path in the work directory, for an absolute path at or below a configured one. */
export function workPath(path: string): string | undefined {
  for (const { from, to } of views) {
    for (const folder of spellings(from)) {
      if (path === folder) return to
      if (path.startsWith(folder + sep)) return to + path.slice(folder.length)
    }
  }
  return undefined
}

const realFolders = new Map<string, string>()

/** A project may be reached through a link, and then tools use either path. */
function spellings(from: string): string[] {
  let real = realFolders.get(from)
  if (real === undefined) {
    real = from
    try {
      real = join(originals.realpathSync(dirname(from)), basename(from))
    } catch {
      // The folder does not exist yet: it has one path only.
    }
    realFolders.set(from, real)
  }
  return real === from ? [from] : [from, real]
}

const originals = { realpathSync: fs.realpathSync }

function redirected(path: unknown): unknown {
  const text = path instanceof URL ? filePath(path) : path
  if (typeof text !== 'string') return path
  return workPath(resolve(text)) ?? path
}

/** `undefined` for a URL that node:fs is going to refuse. */
function filePath(url: URL): string | undefined {
  try {
    return fileURLToPath(url)
  } catch {
    return undefined
  }
}

const ONE_PATH =
  'access appendFile chmod chown createReadStream createWriteStream exists lchown lstat lutimes mkdir mkdtemp open openAsBlob opendir readFile readdir readlink realpath rm rmdir stat statfs truncate unlink utimes writeFile'
const TWO_PATHS = 'copyFile cp link rename'

/** For each call of node:fs which of its arguments are paths. The target of a symlink is text. */
const ARGUMENTS = new Map<string, number[]>([
  ...ONE_PATH.split(' ').map((name): [string, number[]] => [name, [0]]),
  ...TWO_PATHS.split(' ').map((name): [string, number[]] => [name, [0, 1]]),
  ['symlink', [1]],
])

function replaceCalls(): void {
  for (const [name, positions] of ARGUMENTS) {
    replaceCall(fs as unknown as Api, name, positions)
    replaceCall(fs as unknown as Api, `${name}Sync`, positions)
    replaceCall(fs.promises as unknown as Api, name, positions)
  }
  syncBuiltinESMExports()
}

function replaceCall(api: Api, name: string, positions: number[]): void {
  const original = api[name]
  if (typeof original !== 'function') return
  const wrapper = redirecting(original, positions)
  for (const key of Reflect.ownKeys(original)) {
    const property = Object.getOwnPropertyDescriptor(original, key)
    if (!property?.writable && key !== 'name' && key !== 'length') continue
    if (key === 'native') Object.assign(wrapper, { native: redirecting(property?.value as Call, positions) })
    else if (key !== 'prototype') Object.defineProperty(wrapper, key, property as PropertyDescriptor)
  }
  api[name] = wrapper
  replaced.push({ api, name, original, wrapper })
}

function redirecting(original: Call, positions: number[]): Call {
  return function (this: unknown, ...args: unknown[]): unknown {
    if (isInsideBuild()) for (const position of positions) args[position] = redirected(args[position])
    return original.apply(this, args)
  }
}

function restoreCalls(): void {
  for (const { api, name, original, wrapper } of replaced.splice(0)) if (api[name] === wrapper) api[name] = original
  syncBuiltinESMExports()
}
