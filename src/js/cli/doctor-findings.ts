/** What `warmswap doctor` examines in addition to the filesystem. */

import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openCache } from '../caches/index.js'
import { inspectLock } from '../locks/index.js'
import { findAddons, packageFolder, sealOf } from '../native/addon-file.js'
import { messageOf } from '../native/callbacks.js'
import { lockNames, stateOf } from './lock.js'
import { findSetAside } from './set-aside.js'

/** One line of the report. */
export interface Finding {
  name: string
  text: string
  isProblem?: boolean
  /** Fields that only --json prints. */
  facts?: Record<string, unknown>
}

/** Compares the versions of JavaScript and addon, and the addon with what was built. */
export function versionFindings(): Finding[] {
  const folder = packageFolder()
  const own = folder === undefined ? 'unknown' : versionIn(folder)
  const [file] = findAddons()
  const findings: Finding[] = [{ name: 'version', text: String(own), facts: { version: own } }]
  if (file === undefined) return findings
  const seal = sealOf(file)
  const version =
    seal?.version ??
    (folder !== undefined && file.startsWith(join(folder, 'dist')) ? undefined : versionIn(dirname(file)))
  findings.push({
    name: 'addon',
    text: `${file}${version === undefined ? ', built here' : `, version ${version}`}`,
    facts: { path: file, version: version ?? null },
  })
  if (seal !== undefined && createHash('sha256').update(readFileSync(file)).digest('hex') !== seal.sha256)
    findings.push({ name: 'addon', text: 'the file is not what was built: install it again', isProblem: true })
  if (version !== undefined && version !== own)
    findings.push({
      name: 'addon',
      text: `its version differs from that of the JavaScript, ${own}: run your package manager's install`,
      isProblem: true,
    })
  return findings
}

function versionIn(folder: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: string }).version
  } catch {
    return undefined
  }
}

/** Stores below the directory: their current generation, their links, and the directories that the links replaced. */
export function storeFindings(directory: string): Finding[] {
  const { stores, links, trees, incomplete } = findSetAside(directory)
  const findings: Finding[] = stores.map((store) => {
    const generation = currentOf(store)
    return {
      name: 'store',
      text: `${store}, ${generation === null ? 'nothing published' : `generation ${generation}`}`,
      facts: { path: store, generation },
    }
  })
  for (const { path, store, isBroken } of links)
    findings.push({
      name: 'link',
      text: `${path} leads to ${store}${isBroken ? ': it is broken until the next publish' : ''}`,
      facts: { path, store, broken: isBroken },
    })
  for (const tree of trees)
    findings.push({
      name: 'set aside',
      text: `${tree}: the link of a store replaced this directory; remove it when you no longer need it`,
      facts: { path: tree },
    })
  if (incomplete)
    findings.push({
      name: 'set aside',
      text: 'not all directories were searched: name the folder of the store to list what its link replaced',
      facts: { incomplete },
    })
  return findings
}

function currentOf(store: string): number | null {
  try {
    const [number] = /\d+/.exec(readlinkSync(join(store, 'current'))) ?? []
    return number === undefined ? null : Number(number)
  } catch {
    return null
  }
}

/** Locks of dead holders, which the next acquirer takes over. */
export async function lockFindings(directory: string): Promise<Finding[]> {
  let names: string[]
  try {
    names = lockNames(directory)
  } catch (error) {
    return [{ name: 'lock files', text: `not examined: ${messageOf(error)}`, facts: { locks: null } }]
  }
  if (names.length === 0) return []
  const states = await Promise.all(
    names.map(async (name) => {
      try {
        return stateOf(await inspectLock(join(directory, name)))
      } catch {
        // Owned by another user, or of a newer format: 'lock why' names the reason.
        return 'unknown'
      }
    }),
  )
  const dead = names.filter((_, at) => states[at] === 'dead')
  const held = states.filter((state) => state === 'held' || state === 'held?').length
  return [
    {
      name: 'lock files',
      text: `${names.length} in the directory, ${held} held, ${dead.length} of dead holders${dead.length === 0 ? '' : ` (${dead.slice(0, 5).join(', ')}): free, 'warmswap lock sweep' removes what they left`}`,
      facts: { locks: names.length, held, dead },
    },
  ]
}

/** Below these, watchers of a dev server on a large project fail. */
const LEAST_WATCHES = 65_536
const LEAST_INSTANCES = 128
const LEAST_FILES = 1_024

/** Limits of inotify and of open files. Linux only. */
export function limitFindings(): Finding[] {
  const watches = numberIn('/proc/sys/fs/inotify/max_user_watches')
  const instances = numberIn('/proc/sys/fs/inotify/max_user_instances')
  const files = openFiles()
  const findings: Finding[] = []
  if (watches !== undefined && instances !== undefined)
    findings.push({
      name: 'watchers',
      text: `${watches} watches, ${instances} instances${watches < LEAST_WATCHES || instances < LEAST_INSTANCES ? ': raise fs.inotify.max_user_watches and max_user_instances with sysctl if watchers report ENOSPC or EMFILE' : ''}`,
      facts: { maxWatches: watches, maxInstances: instances },
    })
  if (files !== undefined)
    findings.push({
      name: 'open files',
      text: `at most ${files}${files < LEAST_FILES ? ': raise the limit with ulimit -n' : ''}`,
      facts: { maxOpenFiles: Number.isFinite(files) ? files : null },
      isProblem: files < LEAST_FILES,
    })
  return findings
}

function numberIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

function openFiles(): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined ? undefined : soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft)
  } catch {
    return undefined
  }
}

/** Whether a cache location answers, and what it permits. Writes a small object and removes it again. */
export async function cacheFindings(store: string): Promise<Finding[]> {
  await using cache = openCache(store)
  try {
    const abilities = await cache.probe({ deadlineMs: 10_000 })
    const { writable, conditionalPut, exclusiveWrites } = abilities
    const notes = [
      writable ? 'readable and writable' : 'readable, not writable',
      conditionalPut ? 'concurrent writers are detected' : 'concurrent writers are not detected',
      ...(conditionalPut && !exclusiveWrites
        ? ['of simultaneous writers several can win: not usable for cache.ensure() and prewarm()']
        : []),
    ]
    return [{ name: 'cache', text: notes.join(', '), facts: { reachable: true, ...abilities } }]
  } catch (error) {
    const { outcome } = error as { outcome?: string }
    return [
      {
        name: 'cache',
        text: messageOf(error).replaceAll('\n', ' '),
        isProblem: true,
        facts: { reachable: false, outcome: outcome ?? null },
      },
    ]
  }
}
