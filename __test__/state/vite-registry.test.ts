/** R1, R2, R3, R7: the registry through Vite's module runners. That the same is lost without it: vite-trouble.test.ts. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { resetState } from 'warmswap/state'
import * as plugins from 'warmswap/vite'
import { repository } from '../support/paths.js'
import { bundledText, portableStateIsKept, thereIsOneCopy } from '../support/vite-checks.js'
import { type Answer, copyFixture, ENTRY, type Entry, type Fixture, type FixtureOptions, loadVite, openFixture, versions } from '../support/vite.js'

const { default: warmswap, importWithRecovery } = plugins

afterEach(() => resetState())

async function open(options: Omit<FixtureOptions, 'context'>): Promise<Fixture & { events: plugins.RecoveryEvent[] }> {
  const events: plugins.RecoveryEvent[] = []
  const recovery = { onEvent: (event: plugins.RecoveryEvent) => events.push(event) }
  const fixture = await openFixture({ ...options, context: 'kept', plugins: [warmswap({ recovery })] })
  onTestFinished(() => fixture.close())
  return Object.assign(fixture, { events })
}

const routeB = (fixture: Fixture): Promise<Answer> =>
  importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, { runner: fixture.runner, use: (entry) => entry.handle('route-b') })

describe.each(versions)('$name', (version) => {
  describe.each(['in-process', 'worker thread'] as const)('%s runner', (runner) => {
    test.each([false, true])('R1, R2, S1, S11: identity and context over a re-optimization, ignoreOutdatedRequests: %s', async (ignoreOutdatedRequests) => {
      const fixture = await open({ version, runner, ignoreOutdatedRequests })
      const entry = await fixture.entry()
      await entry.count(41)
      const { handle } = entry
      const first = await handle('route-a')
      const answer = await routeB(fixture)

      const isSilent = version.silent || ignoreOutdatedRequests
      expect(answer).toMatchObject({ store: { user: 'ada' }, counter: 41, initialised: first.initialised })
      expect(fixture.reloads.ssr).toBe(1)
      // Evaluated anew, initialised once; and nothing more often than the one retry explains.
      const later = await (await fixture.entry()).handle('route-b')
      const evaluatedAgain = later.evaluations.entry - first.evaluations.entry
      expect(evaluatedAgain).toBeGreaterThanOrEqual(1)
      expect(evaluatedAgain).toBeLessThanOrEqual(isSilent ? 2 : 1)
      expect(later).toMatchObject({ store: { user: 'ada' }, counter: 41, initialised: first.initialised })
      // S11: told once where Vite is silent, and nowhere else.
      expect(fixture.log.filter((line) => line.includes('evaluated under two hashes'))).toHaveLength(isSilent ? 1 : 0)
      if (isSilent) {
        // The duplicate exists and is harmless.
        expect(fixture.events).toEqual([])
        expect(answer.routeShared).not.toBe(answer.entryShared)
      } else {
        expect(fixture.events.map(({ outcome, attempt }) => [outcome, attempt])).toEqual([['retry', 1], ['recovered', 2]])
        expect(answer.routeShared).toBe(answer.entryShared)
      }
      // A handler that was kept from before has old code and the current state.
      if (runner === 'in-process') expect(await handle('route-a')).toMatchObject({ store: { user: 'ada' }, counter: 41, initialised: first.initialised })
    })
  })

  test('R3: state is kept over everything that ends modules', async () => {
    const fixture = await open({ version })
    const vite = await loadVite(version)
    const { context, counter } = await fixture.entry()
    counter.value = 41
    const evaluations = (): number => (globalThis as unknown as { fixtureEvaluations: { entry: number } }).fixtureEvaluations.entry
    const keptAfter = async (event: string, entry: Promise<Entry> | Entry = fixture.entry()): Promise<void> => {
      const now = await entry
      expect(now.context, event).toBe(context)
      expect(now.counter, event).toBe(counter)
      expect(now.counter.value, event).toBe(41)
    }
    const reevaluated = async (event: () => unknown): Promise<void> => {
      const before = evaluations()
      await event()
      await vi.waitFor(() => expect(evaluations()).toBeGreaterThan(before), { timeout: 20_000 })
    }

    await reevaluated(() => routeB(fixture))
    await keptAfter('re-optimization')
    await reevaluated(() => fixture.edit('src/context.js', (text) => `${text}// edited\n`))
    await keptAfter('edit of a module that does not accept')
    delete (globalThis as { fixtureAccepted?: unknown }).fixtureAccepted
    fixture.edit('src/accepting.js', (text) => `${text}// edited\n`)
    await vi.waitFor(() => expect((globalThis as { fixtureAccepted?: unknown }).fixtureAccepted).toBe(context), { timeout: 20_000 })
    await keptAfter('edit of a module that accepts itself')
    fixture.ssr.moduleGraph.invalidateAll()
    await keptAfter('invalidateAll')
    fixture.runner.clearCache()
    await reevaluated(() => fixture.entry())
    await keptAfter('clearCache')
    const second = vite.createServerModuleRunner(fixture.ssr)
    await reevaluated(() => second.import(ENTRY))
    await keptAfter('a second runner', second.import<Entry>(ENTRY))
    await second.close()
    await fixture.server.restart()
    await reevaluated(() => fixture.entry())
    await keptAfter('restart of the server')
    await fixture.server.close()
    const other = await open({ version })
    await keptAfter('another server', other.entry())
  })

  test('R7: one copy, also from inside of a pre-bundled dependency', () => thereIsOneCopy(plugins, version))

  test('R7: and without stableState there are two', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const fixture = await openFixture({ version, context: 'plain', include: ['dep-x'], installed: true })
    onTestFinished(() => fixture.close().finally(() => warn.mockRestore()))
    await fixture.runner.import('/src/one-copy.js')
    expect(bundledText(fixture)).toContain('warmswap/root@')
  })

  test('singletons: a package that is named so is one, over a re-optimization too', async () => {
    const fixture = await openFixture({ version, context: 'kept', plugins: [warmswap({ state: { singletons: ['dep-shared'] } })] })
    onTestFinished(() => fixture.close())
    const { entryShared } = await (await fixture.entry()).handle('route-a')
    await importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, { use: (entry) => entry.handle('route-b') })
    expect(await (await fixture.entry()).handle('route-b')).toMatchObject({ entryShared, routeShared: entryShared })
  })

  test('which environments are configured, and how', async () => {
    const vite = await loadVite(version)
    const environments = { rsc: {}, open: { resolve: { external: true as const } }, isolate: { resolve: { conditions: ['workerd', 'worker'] } } }
    const configured = async (state: plugins.StableStateOptions): Promise<Record<string, string>> => {
      const config = await vite.resolveConfig({ configFile: false, environments, plugins: [plugins.stableState(state)] }, 'serve')
      const has = (list: unknown): boolean => Array.isArray(list) && list.includes('warmswap')
      return Object.fromEntries(Object.entries(config.environments).map(([name, { resolve, optimizeDeps }]) => [name, `${resolve.external === true || has(resolve.external) ? 'external' : '-'} ${has(optimizeDeps.exclude) ? 'excluded' : '-'}`]))
    }
    const server = 'external excluded'
    expect(await configured({})).toEqual({ client: '- -', ssr: server, rsc: server, open: server, isolate: '- excluded' })
    expect(await configured({ backend: 'native' })).toMatchObject({ client: '- -', isolate: server })
    expect(await configured({ backend: 'js' })).toMatchObject({ client: '- -', ssr: '- excluded' })
    expect(await configured({ environments: (name) => name === 'rsc' })).toEqual({ client: '- -', ssr: '- -', rsc: server, open: 'external -', isolate: '- -' })
  })

  test('R16: the portable build is kept as well', () => portableStateIsKept(plugins, version))
})

test('the configuration of the README is one', async () => {
  const [, block] = /```js\n(\/\/ vite\.config\.js, Vite 6[^]*?)```/.exec(readFileSync(join(repository, 'README.md'), 'utf8')) ?? []
  const root = copyFixture('plain')
  onTestFinished(() => rmSync(root, { recursive: true }))
  writeFileSync(join(root, 'vite.config.js'), block as string)
  for (const version of versions) {
    const vite = await loadVite(version)
    const { plugins: resolved } = await vite.resolveConfig({ root, logLevel: 'silent' }, 'serve')
    expect(resolved.map(({ name }) => name)).toEqual(expect.arrayContaining(['warmswap:stable-state', 'warmswap:stale-dep-recovery']))
  }
})
