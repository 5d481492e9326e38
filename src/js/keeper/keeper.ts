/**
 * The keeper: a process that outlives its host only to end the processes that the host has started. Each host has one.
 * It starts with the first process to watch, in a session of its own, so that signals of a terminal or group do not
 * reach it.
 *
 * Node cannot request a death signal from the kernel (prctl PR_SET_PDEATHSIG). A pipe has the same effect: the host
 * holds the other end of the keeper's standard input, and the kernel closes it when the host ends, even by SIGKILL.
 * What the host wrote before is still in the pipe, so a keeper that was just started misses nothing.
 *
 * The keeper is not the parent of the processes it ends: the kernel reparents orphans to init or to the nearest
 * subreaper, which reaps them.
 */

import { rmSync, writeSync } from 'node:fs'
import type { Fact } from './facts.js'
import { isRunning, type ProcessFacts, parentOf, runningProcesses, signalProcess, startOf } from './processes.js'
import { Environments, Ward } from './ward.js'

/** Processes that the kernel had started before the host started its first. */
const before = Number(process.argv[2])
const wards = new Map<string, Ward>()
const folders = new Set<string>()
const reported = new Set<string>()

/** Repeated, because a process can fork while its group is killed. */
const ROUNDS = 100
const PAUSE_MS = 20
/** A process that was being started when its host ended carries its mark once it has called exec. */
const START_MS = 1000
/** How often the keeper checks the leaders: see Ward. */
const CONFIRM_MS = 10_000
const PARENT_MS = 200
/** Time for the children of a worker to end on their own after the worker has ended. */
const TIDY_MS = 200
const TIDY_ROUNDS = 10

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.title = `warmswap-keeper ${process.ppid}`

let input = ''
process.stdin.setEncoding('utf8')
process.stdin.on('data', (text: string) => {
  const lines = (input + text).split('\n')
  input = lines.pop() as string
  for (const line of lines) note(JSON.parse(line) as Fact)
})
process.stdin.on('error', () => {})
process.stdin.on('close', () => void cleanUp().finally(() => process.exit()))
setInterval(() => wards.forEach((ward) => ward.confirm()), CONFIRM_MS)

function note(fact: Fact): void {
  if ('charge' in fact) wards.set(fact.charge.mark, new Ward(fact.charge, before))
  else if ('leader' in fact) wards.get(fact.of)?.started(fact.leader, fact.started)
  else if ('ended' in fact) ended(fact.ended)
  else if ('folder' in fact) folders.add(fact.folder)
  else if ('done' in fact) done(fact.done)
  else watchParent(fact)
}

function ended(mark: string): void {
  const ward = wards.get(mark)
  if (ward?.charge.race !== undefined) return void ward.ended()
  if (ward !== undefined) tidy(mark, ward)
}

/** A worker has ended by itself or was stopped, and its host has killed its group: ends what is left of its session. */
function tidy(mark: string, ward: Ward, rounds = TIDY_ROUNDS): void {
  setTimeout(() => {
    if (kill([ward]) > 0 && rounds > 1) tidy(mark, ward, rounds - 1)
    else wards.delete(mark)
  }, TIDY_MS)
}

function done(folder: string): void {
  folders.delete(folder)
  for (const [mark, { charge }] of wards) if (charge.race === folder) wards.delete(mark)
}

/** The host's parent has ended. Kills the host, which starts nothing more; its end closes the pipe. */
function watchParent({ host, hostStarted, parent }: Extract<Fact, { host: number }>): void {
  const timer = setInterval(() => {
    const now = parentOf(host)
    const isOrphan = now === undefined ? process.platform !== 'linux' && startOf(parent) === undefined : now !== parent
    if (!isOrphan) return
    clearInterval(timer)
    if (hostStarted === undefined || isRunning(host, hostStarted)) signalProcess(host, 'SIGKILL')
  }, PARENT_MS)
}

async function cleanUp(): Promise<void> {
  await ownEnds()
  const begun = performance.now()
  for (let round = 0; round < ROUNDS; round += 1) {
    const isWaitedFor = [...wards.values()].some(({ isStarting }) => isStarting) && performance.now() - begun < START_MS
    if (kill([...wards.values()]) === 0 && !isWaitedFor) break
    await pause()
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** Gives processes that notice the end of their host time to end on their own, with their exit handlers. */
async function ownEnds(): Promise<void> {
  const begun = performance.now()
  const isAwaited = (ward: Ward): boolean => performance.now() - begun < ward.charge.graceMs && ward.isRunning
  wards.forEach((ward) => ward.confirm())
  while ([...wards.values()].some(isAwaited)) await pause()
}

/** Kills the processes of these wards. Returns how many were found. */
function kill(some: readonly Ward[]): number {
  if (some.length === 0) return 0
  const running = runningProcesses()
  const environments = new Environments()
  const found = new Map<number, ProcessFacts>()
  const left = new Map<number, ProcessFacts>()
  for (const ward of some) {
    const { inside, detached } = ward.members(running, environments)
    for (const each of inside) found.set(each.pid, each)
    for (const each of detached) (ward.charge.killDetached ? found : left).set(each.pid, each)
  }
  for (const { pid, started } of found.values())
    if (process.platform !== 'linux' || startOf(pid) === started) signalProcess(pid, 'SIGKILL')
  for (const each of left.values()) if (!found.has(each.pid)) report(each)
  return found.size
}

function report({ pid, started, command }: ProcessFacts): void {
  const id = `${pid} ${started}`
  if (reported.has(id)) return
  reported.add(id)
  const text = `warmswap: process ${pid} (${command.slice(0, 200)}) has made a session of its own and outlives the worker that started it; it was left running. Stop it with 'kill ${pid}', or start the worker with killDetached: true\n`
  try {
    writeSync(2, text)
  } catch {
    // No process reads the host's standard error any more.
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
}
