/** bundles/publish-is-noticed: watchers of current.json notice each publish, and a fresh process runs the published generation. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, watch as watchFs } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import parcel from '@parcel/watcher'
import type * as chokidar5 from 'chokidar'
import { describe, expect } from 'vitest'
import { type BundleStore, bundleIgnores, openBundles } from 'warmswap'
import { test as base } from '../support/temp.js'

const run = promisify(execFile)

/** Calls `changed` on each event for current.json; resolves once it watches. */
type Watch = (root: string, changed: () => void) => Promise<() => unknown>

const isMirror = (path: string): boolean => path.endsWith('current.json')

function chokidar(load: () => Promise<unknown>, target: 'file' | 'folder'): Watch {
  return async (root, changed) => {
    const module = (await load()) as typeof chokidar5 & { default?: typeof chokidar5 }
    const { watch } = module.default ?? module
    const options = {
      ignoreInitial: true,
      ignored: (path: string) => /\/(gens|pins|owners|stage|trash)(\/|$)/.test(path),
    }
    const watcher = watch(target === 'file' ? join(root, 'current.json') : root, options)
    watcher.on('all', (_event: string, path: string) => isMirror(path) && changed())
    await once(watcher as never, 'ready')
    return () => watcher.close()
  }
}

const watchers: [string, Watch][] = [
  ['chokidar 3, file', chokidar(() => import('chokidar3' as string), 'file')],
  ['chokidar 3, folder', chokidar(() => import('chokidar3' as string), 'folder')],
  ['chokidar 4, file', chokidar(() => import('chokidar4' as string), 'file')],
  ['chokidar 4, folder', chokidar(() => import('chokidar4' as string), 'folder')],
  ['chokidar 5, file', chokidar(() => import('chokidar'), 'file')],
  ['chokidar 5, folder', chokidar(() => import('chokidar'), 'folder')],
  [
    '@parcel/watcher, folder',
    async (root, changed) => {
      const subscription = await parcel.subscribe(
        root,
        (_error, events) => events.some(({ path }) => isMirror(path)) && changed(),
        { ignore: bundleIgnores(root) },
      )
      return () => subscription.unsubscribe()
    },
  ],
  [
    'fs.watch, folder',
    async (root, changed) => {
      const watcher = watchFs(root, (_event, name) => name === 'current.json' && changed())
      return () => watcher.close()
    },
  ],
]

const test = base.extend<{ store: BundleStore; link: string }>({
  link: async ({ disk }, use) => use(join(disk, 'dist')),
  store: async ({ disk, link }, use) => {
    const store = await openBundles(join(disk, '.warmswap'), { link })
    await use(store)
    await store.close()
  },
})

async function publish(store: BundleStore, version: number): Promise<void> {
  const stage = await store.stage()
  await stage.write('main.mjs', `console.log(${version})`)
  await stage.publish()
}

describe('bundles/publish-is-noticed: watchers on current.json', () => {
  test.for(watchers)('%s sees every publish, and a fresh process runs it', async ([, watch], { store, link }) => {
    await publish(store, 1)
    let wake = (): void => {}
    let events = 0
    const stop = await watch(store.root, () => {
      events += 1
      wake()
    })
    try {
      for (let version = 2; version <= 5; version += 1) {
        const seen = new Promise<void>((resolve) => (wake = resolve))
        await publish(store, version)
        const { stdout } = await run(process.execPath, [join(link, 'main.mjs')])
        expect(stdout.trim()).toBe(String(version))
        await seen
      }
      expect(events).toBeGreaterThanOrEqual(4)
    } finally {
      await stop()
    }
  })

  test('once current.json names a generation the link leads to it, also at the first publish', async ({ disk }) => {
    for (let round = 0; round < 20; round += 1) {
      const link = join(disk, `link-${round}`)
      const store = await openBundles(join(disk, `store-${round}`), { link })
      const named = (): boolean =>
        existsSync(join(store.root, 'current.json')) &&
        JSON.parse(readFileSync(join(store.root, 'current.json'), 'utf8')).number === 1
      let watcher: ReturnType<typeof watchFs> | undefined
      const found = new Promise<boolean>(
        (resolve) => (watcher = watchFs(store.root, () => named() && resolve(existsSync(join(link, 'main.mjs'))))),
      )
      await publish(store, 1)
      expect(await found).toBe(true)
      watcher?.close()
      await store.close()
    }
  })
})

describe('pin.url()', () => {
  const program = (root: string): string[] => [
    '--input-type=module',
    '-e',
    `import { openBundles } from 'warmswap'; const store = await openBundles(${JSON.stringify(root)}); try { console.log(store.pin().url('main.mjs')) } catch (error) { console.log(error.code) }`,
  ]

  test('bundles/one-generation-per-graph: it refuses to work under --preserve-symlinks, which would mix generations', async ({
    store,
  }) => {
    await publish(store, 1)
    const urls = await Promise.all(
      [[], ['--preserve-symlinks'], ['--preserve-symlinks-main']].map(async (flags) =>
        (await run(process.execPath, [...flags, ...program(store.root)])).stdout.trim(),
      ),
    )
    expect(urls[0]).toMatch(/^file:.*\/gens\/000001\/tree\/main\.mjs$/)
    expect(urls.slice(1)).toEqual(['ERR_UNSUPPORTED', 'ERR_UNSUPPORTED'])
  })
})

test('bundles/links-are-cached-by-node: a process that imports through the link keeps the module of the first import, and a pin reads the new one', async ({
  store,
  link,
}) => {
  await publish(store, 1)
  const text = `
    import { openBundles } from 'warmswap'
    const store = await openBundles(${JSON.stringify(store.root)}, { link: ${JSON.stringify(link)} })
    const through = ${JSON.stringify(join(link, 'main.mjs'))}
    await import(through)
    const stage = await store.stage()
    await stage.write('main.mjs', 'console.log(2)')
    await stage.publish()
    await import(through)
    console.log('pinned')
    await import(store.pin().url('main.mjs'))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', text])
  expect(stdout.trim().split('\n')).toEqual(['1', 'pinned', '2'])
})

test('bundleIgnores of a root with glob characters match what they name', () => {
  const picomatch = createRequire(import.meta.url)('picomatch') as (patterns: string[]) => (path: string) => boolean
  for (const root of ['/app/.warmswap', '/home/me/[id]/app (copy)/a+b@c!{x,y}/.warmswap']) {
    const isIgnored = picomatch(bundleIgnores(root))
    for (const name of [
      'stage',
      'stage/1/tree/a.js',
      'gens/000001/tree/a.js',
      'pins/000001',
      'writer.lock',
      'current.json.tmp',
    ])
      expect(isIgnored(`${root}/${name}`), name).toBe(true)
    expect(isIgnored(`${root}/current.json`)).toBe(false)
  }
})

test('bundleIgnores leaves current.json to watch', () => {
  const patterns = bundleIgnores('/app/.warmswap')
  expect(patterns).toContain('/app/.warmswap/stage/**')
  expect(patterns.join()).not.toContain('current.json')
})
