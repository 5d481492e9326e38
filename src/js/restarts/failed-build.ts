/**
 * The last build of a store that failed, for the other processes whose change was in it: a file of the store, written
 * under its build lock. Each coordinator takes note of it once, by its id: who asks again after that tries again, and a
 * failure of before it was opened, in another boot perhaps, is none of its own.
 */

import { randomUUID } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BundleStore } from '../bundles.js'
import { type RemoteError, fromRemote, toRemote } from './remote-error.js'

interface FailedBuild {
  id: string
  /** The changes up to here were in it. */
  startedAt: number
  pid: number
  error: RemoteError
}

const pathIn = (store: BundleStore): string => join(store.root, 'build.failed')

/** Returns its id. */
export function recordFailure(store: BundleStore, startedAt: number, error: unknown): string {
  const record: FailedBuild = { id: randomUUID(), startedAt, pid: process.pid, error: toRemote(error) }
  const path = pathIn(store)
  // What a killed process left, or something else: a pipe there would wait for its reader.
  rmSync(`${path}.tmp`, { force: true })
  writeFileSync(`${path}.tmp`, JSON.stringify(record), { flag: 'wx' })
  renameSync(`${path}.tmp`, path)
  return record.id
}

/** What tells one failure from another. */
export function lastFailureId(store: BundleStore): string | undefined {
  return read(store)?.id
}

/** A build that has failed since `seen` was the last one, and that contained the change; else undefined. */
export function failureSince(store: BundleStore, seen: string | undefined, atLeast: number): { id: string; error: Error } | undefined {
  const record = read(store)
  if (record === undefined || record.id === seen || record.startedAt < atLeast) return undefined
  return { id: record.id, error: fromRemote(record.error, `in a build of process ${record.pid}`) }
}

/** A file that is not there, or cannot be read, tells of no failure: the waiter builds for itself. */
function read(store: BundleStore): FailedBuild | undefined {
  try {
    return JSON.parse(readRegular(pathIn(store))) as FailedBuild
  } catch {
    return undefined
  }
}

/** Neither waits for the other end of a pipe, nor follows a link, nor reads a device. */
function readRegular(path: string): string {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error(`'${path}' is not a regular file`)
    return readFileSync(descriptor, 'utf8')
  } finally {
    closeSync(descriptor)
  }
}
