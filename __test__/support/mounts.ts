/** Small filesystems that a test mounts. */

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, start } from './children.js'
import { makeTemp } from './temp.js'

export interface Mounted extends AsyncDisposable {
  readonly path: string
}

export function mountTmpfs(size: string): Mounted {
  const path = makeTemp('/dev/shm')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path])
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      execFileSync('umount', [path])
      rmSync(path, { recursive: true })
    },
  }
}

/** A small btrfs in a file. Undefined if it cannot be created here. */
export function mountBtrfs(): Mounted | undefined {
  const folder = makeTemp('/dev/shm')
  const [image, path] = [join(folder, 'image'), join(folder, 'mount')]
  mkdirSync(path)
  const isDone = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  if (
    isDone('truncate', '-s', '256M', image) &&
    isDone('mkfs.btrfs', '-q', '-f', image) &&
    isDone('mount', '-o', 'loop', image, path)
  ) {
    return {
      path,
      [Symbol.asyncDispose]: async () => {
        execFileSync('umount', [path])
        remove()
      },
    }
  }
  remove()
  return undefined
}

export function canMountOverlay(): boolean {
  const folder = makeTemp('/dev/shm')
  for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
  const mounted =
    spawnSync('mount', [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`,
      `${folder}/merged`,
    ]).status === 0
  if (mounted) spawnSync('umount', [`${folder}/merged`])
  rmSync(folder, { recursive: true, force: true })
  return mounted
}

/** Starts a Node program for which the file `hosts` is /etc/hosts. Needs root. */
export function startWithHosts(hosts: string, program: string, ...args: string[]): Child {
  const script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
  return start('unshare', ['--mount', 'sh', '-c', script, 'sh', hosts, process.execPath, program, ...args])
}
