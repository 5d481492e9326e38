/** What a worker tells its keeper (keeper.ts): one keeper for each thread that runs tests. */

import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { MARK } from './groups.js'

type Fact = { folder: string } | { done: string } | { group: number } | { ended: number }

let keeper: ChildProcess | undefined

/** Written before it returns: the pipe's buffer in the kernel holds it, also while the keeper still starts. */
export function tellKeeper(fact: Fact): void {
  keeper ??= startKeeper()
  keeper.stdin?.write(`${JSON.stringify(fact)}\n`)
}

function startKeeper(): ChildProcess {
  const env = { ...process.env }
  // A keeper inside a race of a race must survive the outer one's clean-up.
  delete env[MARK]
  delete env.NODE_OPTIONS
  const started = spawn(process.execPath, [fileURLToPath(new URL('./race-keeper.js', import.meta.url))], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], env })
  started.on('error', () => {})
  started.stdin?.on('error', () => {})
  started.on('exit', () => (keeper = undefined))
  started.unref()
  // A worker ends when its tests have: neither the keeper nor the pipe to it may keep it.
  ;(started.stdin as Socket | null)?.unref()
  return started
}
