// @module-tag system
/** The registry through Vite's module runners. That the same is lost without it: vite-trouble.test.ts. The modes of each guarantee: docs/guarantees/state.md. */

import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ModuleRunner } from 'vite/module-runner'
import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { resetState } from 'warmswap/state'
import * as plugins from 'warmswap/vite'
import { blockBelow } from '../support/docs.js'
import { bundledText, portableStateIsKept, thereIsOneCopy } from '../support/vite-checks.js'
import {
  type Answer,
  copyFixture,
  ENTRY,
  type Entry,
  type Evaluations,
  type Fixture,
  type FixtureOptions,
  loadVite,
  type Mode,
  modes,
  openFixture,
  runnerOf,
  versions,
} from '../support/vite.js'

const { default: warmswap, importWithRecovery } = plugins

afterEach(() => resetState())

interface Told {
  events: plugins.RecoveryEvent[]
}

async function start(options: Omit<FixtureOptions, 'context'>): Promise<Fixture & Told> {
  const events: plugins.RecoveryEvent[] = []
  const recovery = { onEvent: (event: plugins.RecoveryEvent) => events.push(event) }
  const fixture = await openFixture({ ...options, context: 'kept', plugins: [warmswap({ recovery })] })
  return Object.assign(fixture, { events })
}

async function open(options: Omit<FixtureOptions, 'context'>): Promise<Fixture & Told> {
  const fixture = await start(options)
  onTestFinished(() => fixture.close())
  return fixture
}

const routeB = (fixture: Fixture): Promise<Answer> =>
  importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, { use: (entry) => entry.handle('route-b') })

/** A module whose exports are called where it runs. */
type Remote = Record<string, (...args: unknown[]) => unknown>
const remote = (runner: ModuleRunner, name: string): Promise<Remote> => runner.import<Remote>(`/src/${name}.js`)

/** Observations across one re-optimization. */
async function overReoptimization(mode: Mode) {
  const fixture = await start(mode)
  try {
    const entry = await fixture.entry()
    await entry.count(41)
    await entry.keepHandler()
    const before = { first: await entry.handle('route-a'), identity: await entry.identity() }
    const registry = await remote(fixture.runner, 'registry')
    await registry.logged?.()
    const versions = [await registry.defineVersion?.(1)]
    await registry.defineOpaque?.('first')
    const first = await routeB(fixture)

    const later = await fixture.entry()
    const again = await remote(fixture.runner, 'registry')
    versions.push(await again.defineVersion?.(2), await again.defineVersion?.(2))
    return {
      before,
      first,
      later: await later.handle('route-b'),
      identity: await later.identity(),
      byKept: await later.handleByKept('route-a'),
      events: fixture.events,
      reloads: fixture.reloads.ssr,
      told: fixture.log.filter((line) => line.includes('evaluated under two hashes')),
      opaque: await again.defineOpaque?.('second'),
      versions,
      versionLog: await again.logged?.(),
      generation: await again.generationOf?.('fixture.versioned'),
    }
  } finally {
    await fixture.close()
    await resetState()
  }
}

describe.each(modes)('$name', (mode) => {
  describe('over one re-optimization', () => {
    let seen: Awaited<ReturnType<typeof overReoptimization>>
    beforeAll(async () => {
      seen = await overReoptimization(mode)
    })

    test('state/one-value-over-reloads: the same objects, initialised once, although their module is evaluated again', () => {
      const { before, first, later, identity, reloads } = seen
      expect(reloads).toBe(1)
      expect(identity).toEqual(before.identity)
      for (const answer of [first, later])
        expect(answer).toMatchObject({ counter: 41, initialised: before.first.initialised })
      // Nothing is evaluated more often than the one retry explains.
      const evaluatedAgain = later.evaluations.entry - before.first.evaluations.entry
      expect(evaluatedAgain).toBeGreaterThanOrEqual(1)
      expect(evaluatedAgain).toBeLessThanOrEqual(mode.silent ? 2 : 1)
    })

    test('state/context-over-duplicates: the context is there, also in the handler that was kept, and where a dependency exists twice', () => {
      const { first, later, byKept } = seen
      for (const answer of [first, later, byKept]) expect(answer.store).toEqual({ user: 'ada' })
      expect(byKept.counter).toBe(41)
      // In the silent modes the duplicate exists and is harmless.
      expect(first.routeShared !== first.entryShared).toBe(mode.silent)
      expect(later.routeShared).toBe(later.entryShared)
    })

    test('state/keys-are-opaque: keys and values that a careless table would take for nothing', () => {
      expect(seen.opaque).toEqual([
        ...Array.from({ length: 7 }, () => 'first'),
        undefined,
        null,
        false,
        0,
        '',
        Number.NaN,
      ])
    })

    test('state/version-replaces-once: the next version, defined by the new module, disposes of the old value once, then makes its own', () => {
      expect(seen.versions).toEqual([1, 2, 2])
      expect(seen.versionLog).toEqual(['init 1', 'dispose 1', 'init 2'])
      expect(seen.generation).toBe(2)
    })

    test('state/stale-request-is-recovered: a request that meets it is repeated once where it fails, and not where Vite is silent', () => {
      expect(seen.events.map(({ outcome, attempt }) => [outcome, attempt])).toEqual(
        mode.silent
          ? []
          : [
              ['retry', 1],
              ['recovered', 2],
            ],
      )
    })

    test('state/duplicates-are-reported: the duplicate causes one warning where Vite is silent, and nowhere else', () => {
      expect(seen.told).toHaveLength(mode.silent ? 1 : 0)
    })
  })

  test('state/kept-over-every-event: state is kept over everything that ends modules', async () => {
    const fixture = await open(mode)
    const first = await fixture.entry()
    await first.count(41)
    const identity = await first.identity()
    const keptAfter = async (event: string, entry = fixture.entry()): Promise<void> => {
      expect(await (await entry).identity(), event).toEqual(identity)
      expect(await (await entry).counted(), event).toBe(41)
    }
    const evaluations = async (): Promise<Evaluations> => (await fixture.entry()).evaluations()
    const reevaluated = async (event: () => unknown): Promise<void> => {
      const before = await evaluations()
      await event()
      await vi.waitFor(async () => expect((await evaluations()).entry).toBeGreaterThan(before.entry), {
        timeout: 20_000,
      })
    }

    await reevaluated(() => routeB(fixture))
    await keptAfter('re-optimization')
    await reevaluated(() => fixture.edit('src/context.js', (text) => `${text}// edited\n`))
    await keptAfter('edit of a module that does not accept')
    const { ssr: reloads } = fixture.reloads
    fixture.edit('src/accepting.js', (text) => text.replace('accepting += 1', 'accepting += 1000'))
    await vi.waitFor(async () => expect((await evaluations()).accepting).toBeGreaterThan(1000), { timeout: 20_000 })
    await keptAfter('edit of a module that accepts itself')
    expect(fixture.reloads.ssr).toBe(reloads)
    fixture.ssr.moduleGraph.invalidateAll()
    await keptAfter('invalidateAll')
    await reevaluated(() => fixture.runner.clearCache())
    await keptAfter('clearCache')
    const second = fixture.anotherRunner()
    await reevaluated(async () => (await second.import<Entry>(ENTRY)).evaluations())
    await keptAfter('a second runner', second.import<Entry>(ENTRY))
    await second.close()
    await reevaluated(() => fixture.server.restart())
    await keptAfter('restart of the server')
    if (mode.runner === 'worker thread') return
    // Another server has another thread; in this one it is the same.
    await fixture.server.close()
    const other = await open(mode)
    await keptAfter('another server', other.entry())
  })

  test('state/initialised-once: one initialisation for 100 definitions at once in each of 2 environments × 2 runners; failures are not stored', async () => {
    const fixture = await open({ ...mode, environments: { rsc: { resolve: { noExternal: true } } } })
    const environments = [fixture.ssr, fixture.server.environments.rsc as typeof fixture.ssr]
    const runners = environments.flatMap((environment) => [runnerOf(environment), fixture.anotherRunner(environment)])
    const modules = await Promise.all(runners.map((runner) => remote(runner, 'registry')))
    await modules[0]?.logged?.()
    const numbers = await Promise.all(modules.map((module) => module.defineAtOnce?.(100)))
    expect(new Set((numbers as number[][]).flat()).size).toBe(1)
    expect(await modules[0]?.logged?.()).toEqual(['initialised'])
    const asked = { failed: ['thrown', 'rejected', 'ERR_REENTRANT', 'ERR_REENTRANT'], stored: [], retried: 'made' }
    expect(await modules[1]?.defineBadly?.()).toEqual(asked)
  })

  test('state/version-replaces-once: migration and a dispose that throws, over a reload', async () => {
    const fixture = await open(mode)
    const warnings = await remote(fixture.runner, 'warnings')
    const registry = await remote(fixture.runner, 'registry')
    await warnings.warned?.()
    await registry.logged?.()
    await registry.defineVersion?.(1, { fails: true })
    fixture.runner.clearCache()
    const again = await remote(fixture.runner, 'registry')
    expect(await again.defineVersion?.(2, { migrates: true })).toBe(2)
    expect(await again.defineVersion?.(3, { fails: true })).toBe(3)
    expect(await again.logged?.()).toEqual(['init 1', 'dispose 1', 'migrate 1', 'dispose 2', 'init 3'])
    expect(await (await remote(fixture.runner, 'warnings')).warned?.()).toEqual([
      expect.stringContaining("dispose of state 'fixture.versioned' failed"),
    ])
  })

  test('state/one-copy: one copy, also from inside a pre-bundled dependency', () => thereIsOneCopy(plugins, mode))

  test('state/copies-share-their-state: two copies of the package share their state, and one warning says so', async () => {
    const fixture = await openFixture({
      ...mode,
      context: 'plain',
      plugins: [warmswap()],
      exclude: ['dep-y'],
      installed: true,
      copies: ['dep-y'],
    })
    onTestFinished(() => fixture.close())
    const warnings = await remote(fixture.runner, 'warnings')
    await warnings.forget?.()
    await warnings.warned?.()
    for (let reload = 0; reload < 2; reload += 1) {
      expect(await (await remote(fixture.runner, 'two-copies')).isOne?.()).toBe(true)
      fixture.runner.clearCache()
    }
    const told = await (await remote(fixture.runner, 'warnings')).warned?.()
    expect(told).toEqual([expect.stringMatching(/two copies of warmswap.*dep-y\/node_modules\/warmswap/)])
  })

  describe('state/no-old-graph-in-memory: after 50 reloads', () => {
    const KEY = 'fixture.generations'

    /** Reloads as the optimizer does, and lets each generation keep something. */
    async function generations(fixture: Fixture, keep: string): Promise<{ evaluated: number; left: number }> {
      for (let reload = 0; reload < 50; reload += 1) {
        const module = await remote(fixture.runner, 'generation')
        await module[keep]?.(KEY)
        const evaluated = (await module.evaluated?.()) as number
        fixture.ssr.moduleGraph.invalidateAll()
        fixture.ssr.hot.send({ type: 'full-reload', path: '*' })
        await vi.waitFor(
          async () =>
            expect(await (await remote(fixture.runner, 'generation')).evaluated?.()).toBeGreaterThan(evaluated),
          { timeout: 20_000, interval: 2 },
        )
      }
      return (await (await remote(fixture.runner, 'generation')).count?.()) as never
    }

    test('plain data keeps no old module graph in memory', async () => {
      const { evaluated, left } = await generations(await open(mode), 'keepData')
      expect(evaluated).toBeGreaterThan(50)
      // The one that runs, the one whose dispose is the latest, and one that a reload overtook.
      expect(left).toBeLessThanOrEqual(3)
    })

    test('the check detects functions that are stored; each key causes one warning, with the place of its definition', async () => {
      const fixture = await open(mode)
      const warnings = await remote(fixture.runner, 'warnings')
      await warnings.forget?.()
      await warnings.warned?.()
      expect((await generations(fixture, 'keepCode')).left).toBeGreaterThanOrEqual(50)
      const module = await remote(fixture.runner, 'generation')
      await module.keepInstance?.(`${KEY} instance`)
      expect(await module.listed?.(`${KEY} instance`)).toMatchObject({
        kind: 'code',
        generation: 1,
        definedBy: expect.stringContaining('src/generation.js'),
      })
      const told = (await (await remote(fixture.runner, 'warnings')).warned?.()) as string[]
      expect(told).toEqual([
        expect.stringMatching(/state 'fixture\.generations instance' \(defined at .*src\/generation\.js:\d+:\d+\)/),
      ])
    })
  })

  test('state/works-without-the-addon: the portable build is kept as well', () => portableStateIsKept(plugins, mode))
})

describe.each(versions)('$name', (version) => {
  test('state/one-copy: and without stableState there are two', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const fixture = await openFixture({ version, context: 'plain', include: ['dep-x'], installed: true })
    onTestFinished(() => fixture.close().finally(() => warn.mockRestore()))
    await fixture.runner.import('/src/one-copy.js')
    expect(bundledText(fixture)).toContain('warmswap/root@')
  })

  test('singletons: a package that is named so is one, over a re-optimization too', async () => {
    const fixture = await openFixture({
      version,
      context: 'kept',
      plugins: [warmswap({ state: { singletons: ['dep-shared'] } })],
    })
    onTestFinished(() => fixture.close())
    const { entryShared } = await (await fixture.entry()).handle('route-a')
    await importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, { use: (entry) => entry.handle('route-b') })
    expect(await (await fixture.entry()).handle('route-b')).toMatchObject({ entryShared, routeShared: entryShared })
  })

  test('which environments are configured, and how', async () => {
    const vite = await loadVite(version)
    const environments = {
      rsc: {},
      open: { resolve: { external: true as const } },
      isolate: { resolve: { conditions: ['workerd', 'worker'] } },
    }
    const configured = async (state: plugins.StableStateOptions): Promise<Record<string, string>> => {
      const config = await vite.resolveConfig(
        { configFile: false, environments, plugins: [plugins.stableState(state)] },
        'serve',
      )
      const has = (list: unknown): boolean => Array.isArray(list) && list.includes('warmswap')
      return Object.fromEntries(
        Object.entries(config.environments).map(([name, { resolve, optimizeDeps }]) => [
          name,
          `${resolve.external === true || has(resolve.external) ? 'external' : '-'} ${has(optimizeDeps.exclude) ? 'excluded' : '-'}`,
        ]),
      )
    }
    const server = 'external excluded'
    expect(await configured({})).toEqual({
      client: '- -',
      ssr: server,
      rsc: server,
      open: server,
      isolate: '- excluded',
    })
    expect(await configured({ backend: 'native' })).toMatchObject({ client: '- -', isolate: server })
    expect(await configured({ backend: 'js' })).toMatchObject({ client: '- -', ssr: '- excluded' })
    expect(await configured({ environments: (name) => name === 'rsc' })).toEqual({
      client: '- -',
      ssr: '- -',
      rsc: server,
      open: 'external -',
      isolate: '- -',
    })
  })
})

test('the configuration of the guide is valid', async () => {
  const block = blockBelow('docs/guide/vite.md', 'Add the plugins')
  const root = copyFixture('plain')
  onTestFinished(() => rmSync(root, { recursive: true }))
  writeFileSync(join(root, 'vite.config.js'), block)
  for (const version of versions) {
    const vite = await loadVite(version)
    const { plugins: resolved } = await vite.resolveConfig({ root, logLevel: 'silent' }, 'serve')
    expect(resolved.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['warmswap:stable-state', 'warmswap:stale-dep-recovery']),
    )
  }
})
