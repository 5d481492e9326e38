// @module-tag system
/** Version 'auto': an edit of the module that defines a resource closes it and opens it again, once; nothing else does. */

// guarantee: state/edit-replaces-once

import { readFileSync } from 'node:fs'
import type { DevEnvironment, Plugin } from 'vite'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { resetState } from 'warmswap/state'
import warmswap from 'warmswap/vite'
import { importWithRecovery } from 'warmswap/vite'
import { type Entry, ENTRY, type Fixture, openFixture, runnerOf, type Version, versions } from '../support/vite.js'

const RESOURCE = '/src/resource.ts'
const TICKER = '/src/ticker.js'

interface Resource {
  label: string
  labels(): Promise<string>
  logged(): string[]
  keep(): void
  openByKept(): Promise<string>
}

const resourceOf = (fixture: Fixture, environment = fixture.ssr): Promise<Resource> =>
  runnerOf(environment).import<Resource>(RESOURCE)

/** Open fixtures of the test, closed before the state is reset: a server that is still open can define it again. */
const fixtures: Fixture[] = []

afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.close()
  await resetState()
  for (const name of ['fixtureResources', 'fixturePort', 'fixtureTicks', 'fixtureOpen'])
    Reflect.deleteProperty(globalThis, name)
})

async function open(version: Version, plugins: Plugin[] = warmswap()): Promise<Fixture> {
  const environments = { rsc: { resolve: { noExternal: true as const } } }
  const fixture = await openFixture({ version, context: 'kept', environments, plugins })
  fixtures.push(fixture)
  return fixture
}

/** Edits the label and waits until the new code runs. */
async function relabel(fixture: Fixture, label: string, environments = [fixture.ssr]): Promise<Resource> {
  fixture.edit('src/resource.ts', (text) => text.replace(/LABEL: string = '\w+'/, `LABEL: string = '${label}'`))
  for (const environment of environments)
    await vi.waitFor(async () => expect((await resourceOf(fixture, environment)).label).toBe(label), {
      timeout: 20_000,
    })
  return resourceOf(fixture)
}

describe.each(versions)('$name', (version) => {
  test('an edit closes the server, then opens one on the same port, once; also when the edit is undone', async () => {
    const fixture = await open(version)
    expect((await resourceOf(fixture)).logged()).toEqual(['open one'])
    const edited = await relabel(fixture, 'two')
    expect(await edited.labels()).toBe('two true next door')
    expect(edited.logged()).toEqual(['close one', 'open two'])
    expect((await relabel(fixture, 'one')).logged()).toEqual(['close two', 'open one'])
  })

  test('a change that is not an edit of the module keeps the value', async () => {
    const fixture = await open(version)
    const first = await resourceOf(fixture)
    first.logged()
    const kept = async (event: string, environment?: DevEnvironment): Promise<void> => {
      const again = await resourceOf(fixture, environment)
      expect([await again.labels(), ...again.logged()], event).toEqual([
        expect.stringMatching(/^one true (next door|moved)$/),
      ])
    }
    const reevaluated = async (event: string, cause: () => unknown): Promise<void> => {
      const before = await resourceOf(fixture)
      await cause()
      await vi.waitFor(async () => expect(await resourceOf(fixture)).not.toBe(before), { timeout: 20_000 })
      await kept(event)
    }
    await reevaluated('edit of a module that it imports', () =>
      fixture.edit('src/neighbour.js', (text) => text.replace('next door', 'moved')),
    )
    expect(await (await resourceOf(fixture)).labels()).toContain('moved')
    await reevaluated('saved without a change', () => fixture.edit('src/resource.ts', (text) => text))
    await reevaluated('clearCache', () => fixture.runner.clearCache())
    await kept('another environment', fixture.server.environments.rsc)
    await fixture.entry()
    await reevaluated('re-optimization', () =>
      importWithRecovery<Entry, unknown>(fixture.ssr, ENTRY, { use: (entry) => entry.handle('route-b') }),
    )
    await reevaluated('restart of the server', () => fixture.server.restart())
    await kept('another environment, after the restart', fixture.server.environments.rsc)
    // The restart made new plugins, which have seen no edit yet. Both environments evaluate the new code before the
    // test ends: an evaluation that is still under way would define the state for the next test (seen in CI).
    const environments = [fixture.ssr, fixture.server.environments.rsc as DevEnvironment]
    expect((await relabel(fixture, 'two', environments)).logged()).toEqual(['close one', 'open two'])
  })

  test('an edit opens one resource for two environments, and code of before the edit gets that one', async () => {
    const fixture = await open(version)
    const rsc = fixture.server.environments.rsc as DevEnvironment
    const [first] = await Promise.all([resourceOf(fixture), resourceOf(fixture, rsc)])
    first.keep()
    expect(first.logged()).toEqual(['open one'])
    const edited = await relabel(fixture, 'two', [fixture.ssr, rsc])
    expect(await edited.openByKept()).toBe('two')
    expect(edited.logged()).toEqual(['close one', 'open two'])
  })

  test('a pre-bundled dependency keeps its value over a re-optimization that changes its code', async () => {
    const fixture = await openFixture({ version, context: 'kept', plugins: warmswap(), include: ['dep-auto'] })
    fixtures.push(fixture)
    const codeOf = (): string =>
      readFileSync(fixture.ssr.depsOptimizer?.metadata.optimized['dep-auto']?.file ?? '', 'utf8')
    const load = (): Promise<{ logged(): string[] }> => fixture.runner.import('/src/with-dep.js')
    const first = await load()
    expect(first.logged()).toEqual(['open true'])
    const before = codeOf()
    await importWithRecovery<Entry, unknown>(fixture.ssr, ENTRY, { use: (entry) => entry.handle('route-a') })
    fixture.runner.clearCache()
    const again = await load()
    expect(again).not.toBe(first)
    expect([again.logged(), codeOf() === before]).toEqual([[], false])
  })

  test('a removed definition loses nothing, and an edit that brings it back replaces the value', async () => {
    const fixture = await open(version)
    const logged = (): string[] => (globalThis as { fixtureTicks?: string[] }).fixtureTicks?.splice(0) ?? []
    const load = (): Promise<{ label: string }> => fixture.runner.import(TICKER)
    const whole = { text: '' }
    const edit = async (label: string, change: (text: string) => string): Promise<void> => {
      fixture.edit('src/ticker.js', change)
      await vi.waitFor(async () => expect((await load()).label).toBe(label), { timeout: 20_000 })
    }
    await load()
    await edit('none', (text) => {
      whole.text = text
      return "export const label = 'none'\n"
    })
    expect(logged()).toEqual(['open one'])
    await edit('two', () => whole.text.replace("'one'", "'two'"))
    expect(logged()).toEqual(['close one', 'open two'])
  })

  test('an edit that fails closes the resource, and the next one opens it', async () => {
    const fixture = await open(version)
    ;(await resourceOf(fixture)).logged()
    fixture.edit('src/resource.ts', (text) =>
      text.replace('const server = createServer()', "throw new Error('typo')\n  const server = createServer()"),
    )
    await vi.waitFor(() => expect(resourceOf(fixture)).rejects.toThrow('typo'), { timeout: 20_000 })
    fixture.edit('src/resource.ts', (text) => text.replace("throw new Error('typo')\n", ''))
    const again = await vi.waitFor(() => resourceOf(fixture), { timeout: 20_000 })
    expect(again.logged()).toEqual(['close one', 'open one'])
  })

  test('without the plugin an edit of the initialiser replaces the value, and a re-optimization does not', async () => {
    const plugins = warmswap().filter(({ name }) => !name.startsWith('warmswap:auto-version'))
    const fixture = await open(version, plugins)
    ;(await resourceOf(fixture)).logged()
    await fixture.entry()
    await importWithRecovery<Entry, unknown>(fixture.ssr, ENTRY, { use: (entry) => entry.handle('route-b') })
    expect((await resourceOf(fixture)).logged()).toEqual([])
    expect((await relabel(fixture, 'two')).logged()).toEqual([])
    fixture.edit('src/resource.ts', (text) => text.replace('() => listen()', 'async () => listen()'))
    await vi.waitFor(async () => expect((await resourceOf(fixture)).logged()).toEqual(['close one', 'open two']), {
      timeout: 20_000,
    })
  })
})
