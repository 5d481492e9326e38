/**
 * The keeper: a process that outlives its vitest worker just long enough to clean up after it. Node cannot ask the
 * kernel for a death signal (prctl PR_SET_PDEATHSIG), but the end of a pipe is as good: the worker holds the other end
 * of this process's standard input, and when the worker is gone, SIGKILL included, the kernel closes it.
 *
 * One JSON line a fact: {"folder"} of a race begun, {"done"} the same folder when the race has cleaned up itself,
 * {"group"} started and {"ended"} of its processes.
 */

import { rmSync } from 'node:fs'
import { sleep } from './clock.js'
import { ownedProcesses, signalProcess } from './groups.js'

const folders = new Set<string>()
const groups = new Set<number>()

/** Processes that fork while they are killed are found by looking again. */
const ROUNDS = 50
const PAUSE_MS = 20

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

let input = ''
process.stdin.setEncoding('utf8')
process.stdin.on('data', (text: string) => {
  const lines = (input + text).split('\n')
  input = lines.pop() as string
  lines.forEach(note)
})
process.stdin.on('error', () => {})
process.stdin.on('close', () => void cleanUp())

function note(line: string): void {
  const { folder, done, group, ended } = JSON.parse(line) as { folder?: string; done?: string; group?: number; ended?: number }
  if (folder !== undefined) folders.add(folder)
  if (done !== undefined) folders.delete(done)
  if (group !== undefined) groups.add(group)
  if (ended !== undefined) groups.delete(ended)
}

async function cleanUp(): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    const left = [...folders].flatMap((folder) => ownedProcesses(groups, folder))
    if (left.length === 0) break
    for (const { pid } of left) signalProcess(pid, 'SIGKILL')
    await sleep(PAUSE_MS)
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}
