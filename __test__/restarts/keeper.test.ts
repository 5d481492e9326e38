/**
 * What startProcess() leaves when its host, its worker or both are killed: nothing, except for processes with a session
 * of their own.
 */

// guarantee: restarts/worker-ends-with-its-host

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect } from 'vitest'
import { signalProcess } from '../../src/js/keeper/processes.js'
import { isAlive } from '../support/alive.js'
import { type Child, start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

interface Pids {
  worker: number
  inGroup: number
  /** In the group, with an empty environment. */
  unmarked: number
  /** In the session, in another group. */
  inSession: number
  detached?: number
}

const hosts: Child[] = []

// What a test that fails leaves, in groups of their own.
afterEach(() => {
  for (const pid of hosts.splice(0).flatMap(workersOf)) for (const each of [pid, -pid]) signalProcess(each, 'SIGKILL')
})

function startHost(memory: string, options: Record<string, unknown> = {}): Child {
  const host = start(process.execPath, [
    join(repository, '__test__/programs/keeper-host.mjs'),
    join(memory, `store-${hosts.length}`),
    JSON.stringify(options),
  ])
  hosts.push(host)
  return host
}

async function ready(host: Child): Promise<Pids> {
  const pids = JSON.parse((await host.line(/^pids/)).slice('pids '.length)) as Pids
  await host.line(/^ready/)
  expect(Object.values(pids).filter((pid) => !isAlive(pid))).toEqual([])
  return pids
}

/** Whatever carries the mark of this host's workers. */
function workersOf(host: Child): number[] {
  const isMarked = (pid: number): boolean => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`\0WARMSWAP_WORKER=${host.pid}:`)
    } catch {
      return false
    }
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isMarked(pid) && isAlive(pid))
}

/** The keeper has the host's standard error: once that is closed, the keeper has ended. */
async function expectNothingLeft(host: Child, { detached, ...pids }: Pids): Promise<void> {
  await expect.poll(() => Object.entries(pids).filter(([, pid]) => isAlive(pid)), { timeout: 8000 }).toEqual([])
  await host.ended
  expect(workersOf(host)).toEqual(detached === undefined ? [] : [detached])
}

type Kill = [who: 'host' | 'worker', signal: NodeJS.Signals]
const kills: { busy: boolean; signals: Kill[] }[] = [
  { busy: true, signals: [['host', 'SIGKILL']] },
  { busy: true, signals: [['host', 'SIGTERM']] },
  {
    busy: false,
    signals: [
      ['worker', 'SIGSTOP'],
      ['host', 'SIGKILL'],
    ],
  },
  {
    busy: true,
    signals: [
      ['host', 'SIGKILL'],
      ['worker', 'SIGKILL'],
    ],
  },
  {
    busy: false,
    signals: [
      ['worker', 'SIGKILL'],
      ['host', 'SIGKILL'],
    ],
  },
]

test.for(kills)(
  'no process of the group and session is left: $signals, busy: $busy',
  async ({ busy, signals }, { memory }) => {
    const host = startHost(memory, { busy })
    const pids = await ready(host)
    for (const [who, signal] of signals) process.kill(who === 'host' ? host.pid : pids.worker, signal)
    await expectNothingLeft(host, pids)
    expect(host.stderr()).toBe('')
  },
)

test('a worker that sees the end of its host ends with its exit handlers', async ({ memory }) => {
  const host = startHost(memory)
  const pids = await ready(host)
  process.kill(host.pid, 'SIGKILL')
  await host.line(/^exit handler/)
  await expectNothingLeft(host, pids)
})

test('a process with a session of its own is named and left running', async ({ memory }) => {
  const host = startHost(memory, { busy: true, detached: true })
  const pids = await ready(host)
  process.kill(host.pid, 'SIGKILL')
  await expectNothingLeft(host, pids)
  expect(isAlive(pids.detached as number)).toBe(true)
  process.kill(pids.detached as number, 'SIGKILL')
  expect(host.stderr()).toMatch(
    new RegExp(
      `^warmswap: process ${pids.detached} \\(sleep 601\\) has made a session of its own [^\\n]*left running[^\\n]*killDetached: true\\n$`,
    ),
  )
})

test('killDetached: it is killed', async ({ memory }) => {
  const host = startHost(memory, { busy: true, detached: true, killDetached: true })
  const { detached, ...pids } = await ready(host)
  process.kill(host.pid, 'SIGKILL')
  await expectNothingLeft(host, pids)
  await expect.poll(() => isAlive(detached as number), { timeout: 10_000 }).toBe(false)
  expect(host.stderr()).toBe('')
})

test.for([undefined, true])(
  'a worker that is stopped leaves no more than that either (killDetached: %s)',
  async (killDetached, { memory }) => {
    const host = startHost(memory, { detached: true, killDetached })
    const { detached, ...pids } = await ready(host)
    host.say('stop')
    await host.line(/^stopped/)
    await expect.poll(() => Object.values(pids).filter(isAlive), { timeout: 10_000 }).toEqual([])
    if (killDetached) await expect.poll(() => isAlive(detached as number), { timeout: 10_000 }).toBe(false)
    else
      await expect
        .poll(() => host.stderr(), { timeout: 10_000 })
        .toContain(`process ${detached} (sleep 601) has made a session of its own`)
    if (!killDetached) process.kill(detached as number, 'SIGKILL')
    process.kill(host.pid, 'SIGKILL')
    await host.ended
  },
)

test.for(['forked', 'called'])(
  'a host that is killed right after its worker was %s leaves no worker',
  async (endAt, { memory }) => {
    for (const silent of [false, true]) {
      const host = startHost(memory, { endAt, silent })
      const pid = Number((await host.line(/^forked/)).split(' ')[1])
      await host.ended
      await expect.poll(() => [pid, ...workersOf(host)].filter(isAlive), { timeout: 5000 }).toEqual([])
    }
  },
)

test('20 kills at random moments around a start leave nothing', async ({ memory }) => {
  const rounds = Array.from({ length: 20 }, async (_, round) => {
    if (round % 4 > 0) await new Promise((resolve) => setTimeout(resolve, (round % 4) * 500))
    const host = startHost(memory, { busy: round % 2 === 0 })
    await host.line(/^starting/)
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 400))
    process.kill(host.pid, 'SIGKILL')
    await host.ended
    await expect.poll(() => workersOf(host), { timeout: 10_000 }).toEqual([])
  })
  await Promise.all(rounds)
})

test('a keeper that is killed is replaced, and the next one knows the worker', async ({ memory }) => {
  const host = startHost(memory, { busy: true })
  const pids = await ready(host)
  const keeperOf = (): number[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => commandOf(pid).includes(`warmswap-keeper ${host.pid}`))
  await expect.poll(keeperOf, { timeout: 10_000 }).toHaveLength(1)
  const [first] = keeperOf() as [number]
  // One that ends as soon as it was started is not started again.
  await new Promise((resolve) => setTimeout(resolve, 1100))
  process.kill(first, 'SIGKILL')
  await expect.poll(() => keeperOf().filter((pid) => pid !== first), { timeout: 10_000 }).toHaveLength(1)
  process.kill(host.pid, 'SIGKILL')
  await expectNothingLeft(host, pids)
})

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}
