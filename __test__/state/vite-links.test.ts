// @module-tag system
/** state/reloads-follow-links: the reload of a re-optimization is passed on along the links, and nowhere else. */

import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { resetState } from 'warmswap/state'
import warmswap, { type EnvironmentLink, importWithRecovery } from 'warmswap/vite'
import type { DevEnvironment, PluginOption } from 'vite'
import {
  type Answer,
  CHUNK_ENTRY,
  type ChunkEntry,
  ENTRY,
  type Entry,
  type Fixture,
  type Mode,
  modes,
  openFixture,
  runnerOf,
} from '../support/vite.js'

afterEach(() => resetState())

/** A module of `worker` and `edge` that is made from `ssr`, as the bridges of frameworks are. */
const bridge: PluginOption = {
  name: 'fixture:bridge',
  configureServer(server) {
    bridged = () => server.environments.ssr as DevEnvironment
  },
  resolveId: (id) => (id === 'virtual:bridge' ? id : undefined),
  load: (id) =>
    id === 'virtual:bridge'
      ? `export const hash = () => ${JSON.stringify(bridged().depsOptimizer?.metadata.browserHash)}`
      : undefined,
}
let bridged: () => DevEnvironment

async function open(mode: Mode, link?: EnvironmentLink[]): Promise<Fixture> {
  const environments = { worker: {}, edge: {} }
  const fixture = await openFixture({
    ...mode,
    context: 'kept',
    environments,
    plugins: [bridge, warmswap(link && { link })],
  })
  onTestFinished(() => fixture.close())
  return fixture
}

const bridgedHash = async (fixture: Fixture, name: string): Promise<string> => {
  const bridge = await runnerOf(fixture.server.environments[name]).import<{ hash(): string }>('virtual:bridge')
  return bridge.hash()
}

async function reoptimize(fixture: Fixture): Promise<string> {
  await fixture.entry()
  await Promise.all(['worker', 'edge'].map((name) => bridgedHash(fixture, name)))
  await importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, { use: (entry) => entry.handle('route-b') })
  // The reload is passed on in the turn after Vite's own.
  await new Promise(setImmediate)
  return fixture.ssr.depsOptimizer?.metadata.browserHash as string
}

describe.each(modes)('$name', (mode) => {
  test('without a link the other environment stays stale', async () => {
    const fixture = await open(mode)
    expect(await bridgedHash(fixture, 'worker')).not.toBe(await reoptimize(fixture))
    expect(await bridgedHash(fixture, 'worker')).not.toBe(fixture.ssr.depsOptimizer?.metadata.browserHash)
    expect(fixture.reloads).toEqual({ client: 0, ssr: 1, worker: 0, edge: 0 })
  })

  test('only configured links count, in a circle each environment is reloaded once, also after a restart', async () => {
    const fixture = await open(mode, [
      { from: 'ssr', to: ['worker', 'nowhere'] },
      { from: 'worker', to: ['ssr'] },
    ])
    expect(fixture.log.filter((line) => line.includes('do not exist: nowhere'))).toHaveLength(1)
    await fixture.server.restart()
    fixture.countReloads()
    const hash = await reoptimize(fixture)
    await expect.poll(() => bridgedHash(fixture, 'worker')).toBe(hash)
    expect(await bridgedHash(fixture, 'edge')).not.toBe(hash)
    expect(fixture.reloads).toEqual({ client: 0, ssr: 1, worker: 1, edge: 0 })
    const { ssr } = fixture
    await fixture.server.close()
    // Vite's property is Vite's again.
    expect(Object.getOwnPropertyDescriptor(ssr.depsOptimizer, 'metadata')).toHaveProperty('writable', true)
  })

  test('a chain is followed', async () => {
    const fixture = await open(mode, [
      { from: 'ssr', to: ['worker'] },
      { from: 'worker', to: ['edge'] },
    ])
    const hash = await reoptimize(fixture)
    await expect.poll(() => bridgedHash(fixture, 'edge')).toBe(hash)
    expect(fixture.reloads).toEqual({ client: 0, ssr: 1, worker: 1, edge: 1 })
  })

  // On Vite 8, where a chunk that is imported dynamically is deleted without a reload, and on 6 and 7, where Vite reloads.
  test('a deleted chunk also causes a reload', async () => {
    const environments = { worker: {} }
    const fixture = await openFixture({
      ...mode,
      context: 'kept',
      include: ['dep-c'],
      environments,
      plugins: [bridge, warmswap({ link: [{ from: 'ssr', to: ['worker'] }] })],
    })
    onTestFinished(() => fixture.close())
    await bridgedHash(fixture, 'worker')
    await importWithRecovery<ChunkEntry, unknown>(fixture.ssr, CHUNK_ENTRY, { use: (entry) => entry.handle() })
    await new Promise(setImmediate)
    expect(fixture.reloads).toEqual({ client: 0, ssr: 1, worker: 1 })
  })
})
