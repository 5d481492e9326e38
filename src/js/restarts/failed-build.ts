/**
 * The last failed build of a store, for the other processes whose change was in it. A file of the store, written under
 * its build lock. Each coordinator handles a record once, by its id: later callers try again. Failures from before the
 * coordinator was opened, or before the last boot, are ignored.
 */

import { randomUUID } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { BundleStore } from '../bundles/index.js'
import { WarmswapError } from '../native/errors.js'
import { fromRemote, isRemoteError, type RemoteError, toRemote } from './remote-error.js'

interface FailedBuild {
  id: string
  /** The latest change that the build contained. */
  startedAt: number
  pid: number
  error: RemoteError
}

const pathIn = (store: BundleStore): string => join(store.root, 'build.failed')

/** Returns its id. */
export function recordFailure(store: BundleStore, startedAt: number, error: unknown): string {
  const record: FailedBuild = { id: randomUUID(), startedAt, pid: process.pid, error: toRemote(error) }
  const path = pathIn(store)
  const temporary = `${path}.tmp`
  // The remains of a killed process, or another kind of entry: opening a pipe there would block.
  rmSync(temporary, { force: true })
  withFile(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, (file) =>
    writeSync(file, JSON.stringify(record)),
  )
  renameSync(`${path}.tmp`, path)
  return record.id
}

/** Distinguishes one failure from another. */
export function lastFailureId(store: BundleStore): string | undefined {
  return read(store)?.id
}

/** The last failed build, if it differs from `seen` and contained the change. Otherwise undefined. */
export function failureSince(
  store: BundleStore,
  seen: string | undefined,
  atLeast: number,
): { id: string; error: Error } | undefined {
  const record = read(store)
  if (record === undefined || record.id === seen || record.startedAt < atLeast) return undefined
  return { id: record.id, error: fromRemote(record.error, `in a build of process ${record.pid}`) }
}

/** Longer than any record: an error with its stack. */
const LONGEST = 2 ** 20

/** A missing or invalid file means that there is no failure: the waiter builds for itself. */
function read(store: BundleStore): FailedBuild | undefined {
  try {
    const text = withFile(pathIn(store), constants.O_RDONLY, (file) => {
      const bytes = Buffer.alloc(Math.min(fstatSync(file).size, LONGEST))
      return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0))
    })
    const record: unknown = JSON.parse(text)
    return isRecord(record) ? record : undefined
  } catch {
    return undefined
  }
}

function isRecord(record: unknown): record is FailedBuild {
  const { id, startedAt, pid, error } = (record ?? {}) as Partial<FailedBuild>
  return typeof id === 'string' && typeof startedAt === 'number' && typeof pid === 'number' && isRemoteError(error)
}

/**
 * Opens the file only if it is a regular file: a FIFO would block this thread, and a link would lead out of the store.
 */
function withFile<T>(path: string, flags: number, use: (file: number) => T): T {
  const file = openSync(path, flags | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
  try {
    if (!fstatSync(file).isFile())
      throw new WarmswapError('ERR_IO', `'${path}' is not a regular file: remove it`, { path })
    return use(file)
  } finally {
    closeSync(file)
  }
}
