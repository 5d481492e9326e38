/** Builds over processes, killed and hung builders, fences. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { type BuildContext, type Coordinator, openBundles, openCoordinator } from 'warmswap'
import { type Child, start } from '../support/children.js'
import { test as base } from '../support/coordinators.js'
import { repository } from '../support/paths.js'

const program = join(repository, '__test__/programs/coordinator-builder.mjs')

interface Builders {
  root: string
  builder(name: string, env?: Record<string, string>): Promise<Child>
  log(): string[]
}

const test = base.extend<{ builders: Builders; coordinator: Coordinator }>({
  builders: async ({ memory }, use) => {
    const root = join(memory, 'builders')
    const input = join(memory, 'input')
    const log = join(memory, 'builds.log')
    mkdirSync(input)
    writeFileSync(log, '')
    // The store is made before several open it at once, so that each test starts from the same state.
    await (await openBundles(root)).close()
    await use({
      root,
      async builder(name, env = {}) {
        const child = start(process.execPath, [program, root, input, log, name], { env, testing: true })
        await child.line(/ready/)
        return child
      },
      log: () => readFileSync(log, 'utf8').trim().split('\n').filter(Boolean),
    })
  },
  coordinator: async ({ open }, use) => use(open(() => Promise.reject(new Error('not used')))),
})

const tell = (child: Child, command: string, options = {}): void => child.say(JSON.stringify({ command, ...options }))
interface Heard {
  role?: string
  at: number
  missed: number
  name: string
  code: string
  message: string
  stack: string
  status: { state: string; lastError?: object }
}
const heard = async (child: Child, event: string): Promise<Heard> =>
  JSON.parse(await child.line(new RegExp(`"event":"${event}"`)))

/** 4 processes change and build at once; what each of them was given must contain its change. */
async function changesFromFour(
  builders: Builders,
  count: number,
): Promise<{ missed: number; builds: number; overlaps: number }> {
  const processes = await Promise.all(['a', 'b', 'c', 'd'].map((name) => builders.builder(name)))
  for (const process of processes) tell(process, 'changes', { count, together: 5 })
  const tallies = await Promise.all(processes.map((process) => heard(process, 'tally')))
  const log = builders.log()
  let running = 0
  let overlaps = 0
  for (const line of log) {
    running += line.startsWith('begin') ? 1 : -1
    if (running > 1) overlaps += 1
  }
  return {
    missed: tallies.reduce((sum, { missed }) => sum + missed, 0),
    builds: log.filter((line) => line.startsWith('begin')).length,
    overlaps,
  }
}

describe('builds over processes', () => {
  test('restarts/build-contains-the-change: 4 processes × 100 changes: every caller gets its change, never two builds at once', async ({
    builders,
  }) => {
    const { missed, builds, overlaps } = await changesFromFour(builders, 100)
    expect({ missed, overlaps }).toEqual({ missed: 0, overlaps: 0 })
    expect(builds).toBeLessThanOrEqual(401)
  })

  /** All five have said what they need and wait for the build lock. */
  async function allWait(waiters: Child[], event: string, options = {}): Promise<Promise<Heard>[]> {
    const waiting = waiters.map((waiter) => heard(waiter, 'waiting'))
    for (const waiter of waiters) tell(waiter, 'once', options)
    await Promise.all(waiting)
    return waiters.map((waiter) => heard(waiter, event))
  }
  const fiveBuilders = (builders: Builders): Promise<Child[]> =>
    Promise.all(['1', '2', '3', '4', '5'].map((name) => builders.builder(name)))
  const begun = (log: string[]): string[] => log.filter((line) => line.startsWith('begin'))
  const micros = (): number => Number(process.hrtime.bigint() / 1000n)
  // Named: 100 ms (bench/RESULTS.md has what was measured). Asserted: ten times that, because the machine may be busy.
  const TAKEOVER_LIMIT_MICROS = 1_000_000

  test('restarts/dead-builder-is-replaced: a builder that is killed while 5 wait is replaced by one of them', async ({
    builders,
  }) => {
    const waiters = await fiveBuilders(builders)
    for (let round = 0; round < 3; round += 1) {
      const builder = await builders.builder(`killed-${round}`)
      tell(builder, 'hang')
      await heard(builder, 'building')
      const built = await allWait(waiters, 'built')
      const before = builders.log().length

      builder.signal('SIGKILL')
      await builder.ended
      const dead = micros()
      const results = await Promise.all(built)

      expect(begun(builders.log().slice(before)), 'one takeover, whose build serves all').toHaveLength(1)
      expect(results.filter(({ role }) => role === 'ran')).toHaveLength(1)
      expect(Math.max(...results.map(({ at }) => at)) - dead).toBeLessThan(TAKEOVER_LIMIT_MICROS)
    }
  })

  test('restarts/dead-builder-is-replaced: a builder that is killed at any system call of its build while 5 wait is replaced by one of them', {
    timeout: 240_000,
  }, async ({ builders }) => {
    const waiters = await fiveBuilders(builders)
    const step = process.env.WARMSWAP_LONG === '1' ? 1 : 4
    let [killed, whileTheyWaited, survived] = [0, 0, false]
    for (let point = 1; !survived; point += step) {
      const builder = await builders.builder(`at-${point}`, { WARMSWAP_FAULT: `${point}:KILL` })
      const end = Promise.race([
        heard(builder, 'survived').then(
          () => true,
          () => false,
        ),
        builder.ended.then(() => false),
      ])
      const building = heard(builder, 'building').then(
        () => true,
        () => false,
      )
      tell(builder, 'faults')
      const before = builders.log().length
      // Before its build has begun nobody can wait for it yet.
      const waits = await building
      const built = waits ? await allWait(waiters, 'built') : undefined
      tell(builder, 'go')
      survived = await end
      const dead = micros()
      const results = await Promise.all(built ?? (await allWait(waiters, 'built')))

      if (!survived) killed += 1
      if (survived || !waits) continue
      whileTheyWaited += 1
      expect(
        begun(builders.log().slice(before)).filter((line) => !line.includes('at-')),
        `killed at call ${point}: one build serves all`,
      ).toHaveLength(1)
      expect(Math.max(...results.map(({ at }) => at)) - dead).toBeLessThan(TAKEOVER_LIMIT_MICROS)
    }
    expect(killed).toBeGreaterThan(4)
    expect(whileTheyWaited, 'some of them in the publish').toBeGreaterThan(2)
    const store = await openBundles(builders.root)
    expect((await store.verify()).ok).toBe(true)
    await store.close()
  })

  test('a failed build is shared by all waiters in other processes; a later attempt, or a later change, builds', async ({
    builders,
  }) => {
    const waiters = await fiveBuilders(builders)
    const marked = waiters.map((waiter) => heard(waiter, 'marked'))
    for (const waiter of waiters) tell(waiter, 'mark')
    await Promise.all(marked)
    const builder = await builders.builder('failing')
    tell(builder, 'gated')
    await heard(builder, 'building')
    const errors = await allWait(waiters, 'error', { marked: true })
    const failed = heard(builder, 'error')
    tell(builder, 'fail', { message: 'syntax error on purpose' })
    for (const error of await Promise.all([failed, ...errors])) {
      expect(error).toMatchObject({
        name: 'SyntaxError',
        code: 'ERR_MINE',
        message: 'syntax error on purpose',
        status: { state: 'failed', generation: null },
      })
    }
    expect(
      (await Promise.all(errors))
        .map(({ stack }) => stack)
        .filter((stack) => stack.includes(`in a build of process ${builder.pid}`)),
    ).toHaveLength(5)
    expect(begun(builders.log()), 'not one build each').toEqual(['begin failing'])

    const [first, second] = waiters as [Child, Child]
    for (const [waiter, options] of [
      [first, { marked: true }],
      [second, {}],
    ] as const) {
      const built = heard(waiter, 'built')
      tell(waiter, 'once', options)
      expect((await built).role).toBe('ran')
    }
  })

  test('a failed build does not count for a change made after it began: that caller builds', async ({ builders }) => {
    const [builder, later] = await Promise.all([builders.builder('failing'), builders.builder('later')])
    tell(builder, 'gated')
    await heard(builder, 'building')
    const [built] = await allWait([later], 'built')
    const failed = heard(builder, 'error')
    tell(builder, 'fail', { message: 'on purpose' })
    await failed
    expect((await built)?.role).toBe('ran')
    expect(begun(builders.log())).toEqual(['begin failing', 'begin later'])
  })
})

describe('builds of one process', () => {
  /** A build that ends when the test releases it. */
  function held(): {
    run: (context: BuildContext) => Promise<unknown>
    started: Promise<BuildContext>
    finish: (text: string) => void
    fail: (error: Error) => void
  } {
    let announce!: (context: BuildContext) => void
    let finish!: (text: string) => void
    let fail!: (error: Error) => void
    const started = new Promise<BuildContext>((resolve) => (announce = resolve))
    const text = new Promise<string>((resolve, reject) => ([finish, fail] = [resolve, reject]))
    return {
      started,
      finish,
      fail,
      run: async (context) => {
        announce(context)
        await context.stage.write('out.txt', await text)
        return { from: await text }
      },
    }
  }
  const quick =
    (text: string) =>
    async ({ stage }: BuildContext): Promise<void> =>
      stage.write('out.txt', text)
  const unused = (): Promise<never> => Promise.reject(new Error('this build was not to run'))
  const textOf = (path: string): string => readFileSync(path, 'utf8')

  test('restarts/build-contains-the-change: a running build is joined only by who changed nothing since it started; late callers share one', async ({
    coordinator,
    store,
  }) => {
    const early = coordinator.change()
    const first = held()
    const running = coordinator.build({ atLeast: early }, first.run)
    await first.started
    const joined = coordinator.build({ atLeast: early }, unused)
    const late = coordinator.change()
    const trailing = coordinator.build({ atLeast: late }, quick('second'))
    const alsoTrailing = coordinator.build({ atLeast: late }, unused)
    expect(coordinator.status().state).toBe('building')
    first.finish('first')

    const results = await Promise.all([running, joined, trailing, alsoTrailing])
    expect(results.map(({ role }) => role)).toEqual(['ran', 'joined', 'ran', 'joined'])
    expect(results.map(({ pin }) => textOf(pin.resolve('out.txt')))).toEqual(['first', 'first', 'second', 'second'])
    expect(results[0]?.pin.generation.meta).toEqual({ from: 'first' })
    const reused = await coordinator.build({ atLeast: late }, unused)
    expect(reused.role).toBe('reused')
    for (const { pin } of [...results, reused]) pin.release()
    expect(store.current()?.number).toBe(2)
  })

  test('a failed build leaves the old generation and is in status(); the next successful one clears it', async ({
    coordinator,
    store,
  }) => {
    ;(await coordinator.build({ atLeast: coordinator.change() }, quick('good'))).pin.release()
    const failing = held()
    const both = [
      coordinator.build({ atLeast: coordinator.change() }, failing.run),
      coordinator.build({ atLeast: coordinator.change() }, unused),
    ]
    await failing.started
    failing.fail(new Error('syntax error on purpose'))
    for (const outcome of await Promise.allSettled(both))
      expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'syntax error on purpose' } })
    expect(store.current()?.number).toBe(1)
    expect(coordinator.status()).toMatchObject({ state: 'failed', lastError: { message: 'syntax error on purpose' } })
    ;(await coordinator.build({ atLeast: coordinator.change() }, quick('better'))).pin.release()
    expect(coordinator.status().lastError).toBeUndefined()
  })

  test('restarts/hung-builds-run-on: a hung build gets its signal, then a waiter takes over; its late result is refused', async ({
    coordinator,
    store,
  }) => {
    const stamp = coordinator.change()
    const hung = held()
    const given = coordinator.build({ atLeast: stamp, timeoutMs: 50 }, hung.run)
    const { signal } = await hung.started
    const waiter = coordinator.build({ atLeast: stamp }, quick('taken over'))
    await expect(given).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    // The build has as long as its caller, from its own beginning.
    const { pin, role } = await waiter
    expect(signal.reason).toMatchObject({ code: 'ERR_TIMEOUT' })
    expect(role).toBe('ran')
    expect(textOf(pin.resolve('out.txt'))).toBe('taken over')
    pin.release()
    hung.finish('too late')
    await new Promise(setImmediate)
    expect(store.current()?.number).toBe(1)
  })

  test('a caller with a short time limit ends its own wait, not the build of the others', async ({ coordinator }) => {
    const stamp = coordinator.change()
    const build = held()
    const patient = coordinator.build({ atLeast: stamp }, build.run)
    const { signal } = await build.started
    await expect(coordinator.build({ atLeast: stamp, timeoutMs: 10 }, unused)).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
    })
    expect(signal.aborted).toBe(false)
    build.finish('in its own time')
    const { pin, role } = await patient
    expect(role).toBe('ran')
    pin.release()
  })

  test('closing waits until the stages and the build lock of abandoned builds are released', async ({
    coordinator,
    store,
  }) => {
    const build = held()
    const given = coordinator.build({ atLeast: coordinator.change() }, build.run)
    given.catch(() => {})
    await build.started
    await coordinator[Symbol.asyncDispose]()
    expect(['stage', 'owners'].map((folder) => readdirSync(join(store.root, folder)))).toEqual([[], []])
    const other = openCoordinator(store, { start: unused })
    ;(await other.build({ atLeast: other.change(), timeoutMs: 5_000 }, quick('at once'))).pin.release()
    await other[Symbol.asyncDispose]()
  })

  test('a caller that gives up does not end the build of the others; the last one does', async ({ coordinator }) => {
    const stamp = coordinator.change()
    const build = held()
    const [one, other] = [new AbortController(), new AbortController()]
    const first = coordinator.build({ atLeast: stamp, signal: one.signal }, build.run)
    const second = coordinator.build({ atLeast: stamp, signal: other.signal }, unused)
    const { signal } = await build.started
    one.abort(new Error('first gave up'))
    await expect(first).rejects.toThrow('first gave up')
    expect(signal.aborted).toBe(false)
    other.abort(new Error('second gave up'))
    await expect(second).rejects.toThrow('second gave up')
    expect(signal.aborted).toBe(true)
  })

  test('a hanging build of one store does not delay another', async ({ coordinator, memory }) => {
    const hung = held()
    const given = coordinator.build({ atLeast: coordinator.change() }, hung.run)
    given.catch(() => {})
    await hung.started
    const other = await openBundles(join(memory, 'other'))
    const unaffected = openCoordinator(other, { start: unused })
    ;(await unaffected.build({ atLeast: unaffected.change() }, quick('unaffected'))).pin.release()
    await unaffected[Symbol.asyncDispose]()
    await other.close()
    await coordinator[Symbol.asyncDispose]()
    await expect(given).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('wrong arguments are refused by name', async ({ coordinator }) => {
    await expect(coordinator.build({ atLeast: Date.now() * 1000 }, unused)).rejects.toThrow(/need\.atLeast/)
    await expect(coordinator.build({ atLeast: 0 }, 'build' as never)).rejects.toThrow(/run/)
    await expect(coordinator.build({ atLeast: 0, timeoutMs: -1 }, unused)).rejects.toThrow(/need\.timeoutMs/)
    expect(() => openCoordinator({} as never, { start: unused })).toThrow(/store/)
  })
})
