// @module-tag system
/** Late discoveries happen once for each project, and a longer list costs no optimization. */

// guarantee: state/discovery-happens-once

import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { DevEnvironment, InlineConfig, PluginOption } from 'vite'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { resetState } from 'warmswap/state'
import warmswap, { onReoptimize, rememberDiscoveries, staleDepRecovery } from 'warmswap/vite'
import { repository } from '../support/paths.js'
import {
  CHUNK_ENTRY,
  type ChunkEntry,
  copyFixture,
  ENTRY,
  type Entry,
  loadVite,
  loggerInto,
  runnerOf,
  type Version,
  versions,
} from '../support/vite.js'

afterEach(() => resetState())

interface Visit {
  force?: boolean
  plugins?: PluginOption
  /** Routes of the entry, or the module to import instead. @default ['route-a', 'route-b'] */
  routes?: string[]
  include?: string[]
  exclude?: string[]
}

interface Seen {
  /** Commits over something that was optimized before. */
  discoveries: number
  /** Hash of Vite's cache, and the time of its making. */
  cache: string
  optimized: string[]
  log: string[]
}

/** Starts a server in this folder, requests the routes, and ends the server. */
async function visit(version: Version, root: string, given: Visit = {}): Promise<Seen> {
  const {
    force = false,
    plugins = warmswap(),
    routes = ['route-a', 'route-b'],
    include = ['dep-a'],
    exclude = [],
  } = given
  const log: string[] = []
  const config: InlineConfig = {
    root,
    configFile: false,
    appType: 'custom',
    customLogger: loggerInto(log),
    server: { middlewareMode: true, ws: false, watch: null },
    optimizeDeps: { force },
    environments: {
      ssr: {
        resolve: { noExternal: true },
        optimizeDeps: { noDiscovery: false, include, exclude, force },
      },
    },
    plugins: [plugins],
  }
  const server = await (await loadVite(version)).createServer(config)
  let discoveries = 0
  using _ = onReoptimize(server, () => {
    discoveries += 1
  })
  const ssr = server.environments.ssr as DevEnvironment
  for (const route of routes) {
    const handle = async (): Promise<unknown> =>
      route === CHUNK_ENTRY
        ? (await runnerOf(ssr).import<ChunkEntry>(route)).handle()
        : (await runnerOf(ssr).import<Entry>(ENTRY)).handle(route)
    await handle().catch(handle)
  }
  const { metadata } = ssr.depsOptimizer as NonNullable<DevEnvironment['depsOptimizer']>
  await Promise.all(Object.values(metadata.optimized).map(({ processing }) => processing))
  const optimized = Object.keys(metadata.optimized).sort()
  await server.close()
  const cache = readFileSync(join(server.config.cacheDir, 'deps_ssr/_metadata.json'), 'utf8')
  expect(ssr.config.optimizeDeps.include).toEqual(include)
  return { discoveries, cache, optimized, log }
}

function application(): string {
  const root = copyFixture('plain')
  writeFileSync(join(root, 'node_modules/.package-lock.json'), '{}')
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  return root
}

const hint = ({ log }: Seen): string => log.filter((line) => line.includes('discovered late')).join('\n')
const failures = ({ log }: Seen): string[] => log.filter((line) => /fail|cannot|not remembered|missing/i.test(line))

describe.each(versions)('$name', (version) => {
  test('a dependency is discovered late once: no --force, lock file or deleted node_modules brings that back', async () => {
    const root = application()
    const first = await visit(version, root)
    expect([first.discoveries, first.optimized]).toEqual([1, ['dep-a', 'dep-b']])
    expect(hint(first)).toContain("environments: { ssr: { optimizeDeps: { include: ['dep-b'] } } },")
    expect(readFileSync(join(root, '.warmswap/.gitignore'), 'utf8')).toBe('*\n')

    const again = await visit(version, root)
    expect([again.discoveries, again.cache, hint(again)]).toEqual([0, first.cache, ''])

    const forced = await visit(version, root, { force: true })
    expect([forced.discoveries, forced.optimized, hint(forced)]).toEqual([0, ['dep-a', 'dep-b'], ''])
    const afterForce = await visit(version, root)
    expect([afterForce.discoveries, afterForce.cache]).toEqual([0, forced.cache])

    appendFileSync(join(root, 'node_modules/.package-lock.json'), '\n')
    const relocked = await visit(version, root)
    expect([relocked.discoveries, relocked.cache === forced.cache]).toEqual([0, false])

    rmSync(join(root, 'node_modules/.vite'), { recursive: true })
    for (const name of readdirSync(join(root, 'node_modules')).filter((name) => name.startsWith('dep-')))
      rmSync(join(root, 'node_modules', name), { recursive: true })
    cpSync(join(repository, '__test__/state/fixtures/packages'), join(root, 'node_modules'), { recursive: true })
    expect((await visit(version, root)).discoveries).toBe(0)
    expect((await visit(version, root, { plugins: [], force: true })).discoveries).toBe(1)
  })

  test('names that are not installed, excluded or no longer exported leave no warning', async () => {
    const root = application()
    const list = join(root, '.warmswap/.discoveries/ssr')
    mkdirSync(list, { recursive: true })
    for (const name of ['gone', 'gone%2Fdeep', 'dep-b', 'dep-c', 'narrow%2Fmissing', '.keep', '%zz'])
      writeFileSync(join(list, name), '')
    writeFileSync(join(list, 'notes'), 'of the user')
    const narrow = join(root, 'node_modules/narrow')
    mkdirSync(narrow)
    writeFileSync(join(narrow, 'package.json'), JSON.stringify({ name: 'narrow', exports: { '.': './index.js' } }))
    const seen = await visit(version, root, { exclude: ['dep-c'] })
    expect([seen.discoveries, failures(seen), seen.optimized]).toEqual([0, [], ['dep-a', 'dep-b']])
    // What is not of the list is kept, and so is a name that is only excluded.
    expect(readdirSync(list).sort()).toEqual(['%zz', '.keep', 'dep-b', 'dep-c', 'notes'])
    expect(readFileSync(join(list, 'notes'), 'utf8')).toBe('of the user')
  })

  test('an environment that starts without dependencies remembers its first ones too', async () => {
    const root = application()
    await visit(version, root, { include: [] })
    expect(readdirSync(join(root, '.warmswap/.discoveries/ssr')).sort()).toEqual(['dep-a', 'dep-b'])
    const forced = await visit(version, root, { include: [], force: true })
    expect([forced.discoveries, forced.optimized, hint(forced)]).toEqual([0, ['dep-a', 'dep-b'], ''])
  })
})

describe('options', () => {
  const version = versions[0]

  test('discoveries: false writes nothing, and dir is the folder of the user', async () => {
    const root = application()
    const off = await visit(version, root, { plugins: warmswap({ discoveries: false }) })
    expect([off.discoveries, hint(off).includes('remembered'), existsSync(join(root, '.warmswap'))]).toEqual([
      1,
      false,
      false,
    ])
    const chosen = [rememberDiscoveries({ dir: 'config/late' }), staleDepRecovery()]
    await visit(version, root, { plugins: chosen, force: true })
    expect(readdirSync(join(root, 'config/late'))).toEqual(['ssr'])
    expect(existsSync(join(root, '.warmswap'))).toBe(false)
    expect(() => rememberDiscoveries({ dir: 1 as never })).toThrow(/options\.dir/)
    expect(() => warmswap({ discoveries: { folder: 'x' } as never })).toThrow(/folder/)
  })

  test('a path that holds something else is reported once, and nothing fails', async () => {
    const root = application()
    writeFileSync(join(root, '.warmswap'), 'a file of the user')
    const seen = await visit(version, root)
    expect(seen.discoveries).toBe(1)
    expect(seen.log.filter((line) => line.includes('discoveries: false'))).toHaveLength(1)
    expect(readFileSync(join(root, '.warmswap'), 'utf8')).toBe('a file of the user')
  })

  test('servers of one project that run at the same time lose no name', async () => {
    const root = application()
    const cacheDirs = ['one', 'two'].map((name) => ({ name, config: () => ({ cacheDir: join(root, name) }) }))
    await Promise.all(
      [
        ['route-a', 'route-b'],
        ['route-a', CHUNK_ENTRY],
      ].map((routes, index) => visit(version, root, { routes, plugins: [warmswap(), cacheDirs[index]] })),
    )
    expect(readdirSync(join(root, '.warmswap/.discoveries/ssr')).sort()).toEqual(['dep-b', 'dep-c'])
  })
})
