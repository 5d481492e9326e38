/** atomicOutDir() of warmswap/vite: real builds and real watchers of Vite 6, 7 and 8. */

import { execFile } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openBundles } from 'warmswap'
import { atomicOutDir } from 'warmswap/vite'
import { describe, expect } from 'vitest'
import type { InlineConfig, Plugin, Rolldown } from 'vite'
import { test as base } from '../support/temp.js'

type Vite = typeof import('vite')
const versions: [string, () => Promise<Vite>][] = [
  ['6', () => import('vite6') as unknown as Promise<Vite>],
  ['7', () => import('vite7') as unknown as Promise<Vite>],
  ['8', () => import('vite')],
]

interface App {
  root: string
  store: string
  write(name: string, text: string): void
  output(name?: string): string
  config(more?: InlineConfig): InlineConfig
}

const test = base.extend<{ app: App }>({
  app: async ({ disk }, use) => {
    const app: App = {
      root: disk,
      store: join(disk, '.warmswap/dist'),
      write: (name, text) => {
        mkdirSync(join(disk, name, '..'), { recursive: true })
        writeFileSync(join(disk, name), text)
      },
      output: (name = 'main.js') => readFileSync(join(disk, 'dist', name), 'utf8'),
      config: (more = {}) => ({
        root: disk,
        configFile: false,
        logLevel: 'silent',
        ...more,
        build: {
          minify: false,
          rollupOptions: { input: join(disk, 'src/main.js'), output: { entryFileNames: '[name].js' } },
          ...more.build,
        },
        plugins: [more.plugins, atomicOutDir({ apply: 'always' })],
      }),
    }
    app.write('src/main.js', 'console.log("one")')
    await use(app)
  },
})

const broken: Plugin = {
  name: 'broken',
  renderChunk() {
    throw new Error('broken on purpose')
  },
}

/** What was published, without what is being built. */
async function generations(app: App): Promise<number[]> {
  const store = await openBundles(app.store)
  await store.collect()
  const numbers = (await store.list()).map(({ number }) => number)
  await store.close()
  return numbers
}

describe.each(versions)('atomicOutDir() on Vite %s', (_version, load) => {
  test('a build is published and outDir is a link to it', async ({ app }) => {
    const vite = await load()
    await vite.build(app.config())
    expect(lstatSync(join(app.root, 'dist')).isSymbolicLink()).toBe(true)
    expect(app.output()).toContain('one')
    expect(await generations(app)).toEqual([1])
    expect(readdirSync(join(app.store, 'stage')), 'the work directory goes with the build').toEqual([])
    expect(readFileSync(join(app.root, '.warmswap/.gitignore'), 'utf8')).toBe('*\n')
  })

  test("apply: 'watch' does not change a plain build", async ({ app }) => {
    const vite = await load()
    await vite.build({ ...app.config(), plugins: [atomicOutDir()] })
    expect(lstatSync(join(app.root, 'dist')).isSymbolicLink()).toBe(false)
    expect(existsSync(join(app.root, '.warmswap'))).toBe(false)
  })

  test("apply: 'watch': a plain build finds a real directory in place of the link, and the next published build replaces it", async ({
    app,
  }) => {
    const vite = await load()
    const isLink = (): boolean => lstatSync(join(app.root, 'dist')).isSymbolicLink()
    await vite.build(app.config())
    app.write('src/main.js', 'console.log("two")')
    const kept: string[] = []
    const look: Plugin = { name: 'look', renderStart: { order: 'pre', handler: () => void kept.push(app.output()) } }
    const plain = (): InlineConfig => ({
      ...app.config({ build: { emptyOutDir: false } }),
      plugins: [atomicOutDir(), look],
    })
    await vite.build({ ...plain(), build: { ...plain().build, write: false } })
    expect(isLink(), 'nothing is written').toBe(true)
    await vite.build(plain())
    expect(kept.at(-1), 'the directory has what the link showed').toContain('one')
    expect([isLink(), app.output().includes('two')]).toEqual([false, true])
    app.write('dist/extra.txt', 'of a plain build')
    await vite.build(app.config({ build: { emptyOutDir: false } }))
    expect([isLink(), app.output('extra.txt')]).toEqual([true, 'of a plain build'])
    expect(existsSync(join(app.store, 'set-aside'))).toBe(false)
  })

  test('bundles/failed-build-changes-nothing: a failed build publishes nothing', async ({ app }) => {
    const vite = await load()
    await vite.build(app.config())
    app.write('src/main.js', 'console.log("two")')
    await expect(vite.build(app.config({ plugins: [broken] }))).rejects.toThrow('broken on purpose')
    expect(app.output()).toContain('one')
    expect(await generations(app)).toEqual([1])
  })

  test('a real outDir is adopted, and its files are kept until the swap although Vite empties it', async ({ app }) => {
    const vite = await load()
    app.write('dist/old.js', 'old')
    let during = ''
    let read = (): void => {}
    await Promise.all([
      new Promise<void>((resolve) => (read = resolve)).then(() => (during = app.output('old.js'))),
      vite.build(app.config({ plugins: [{ name: 'look', writeBundle: () => read() }] })),
    ])
    expect(during).toBe('old')
    expect(existsSync(join(app.root, 'dist/old.js'))).toBe(false)
    expect(app.output()).toContain('one')
  })

  test('emptyOutDir: false keeps the published files', async ({ app }) => {
    const vite = await load()
    app.write('dist/kept.js', 'kept')
    await vite.build(app.config({ build: { emptyOutDir: false } }))
    expect(app.output('kept.js')).toBe('kept')
    expect(app.output()).toContain('one')
  })

  test('files that plugins write late, into the outDir they know, are published too', async ({ app }) => {
    const vite = await load()
    let outDir = ''
    const late: Plugin = {
      name: 'late',
      enforce: 'post',
      configResolved(config) {
        outDir = join(config.root, config.build.outDir)
      },
      async closeBundle() {
        // As a plugin does that lets another program write.
        await promisify(execFile)(process.execPath, [
          '-e',
          'require("node:fs").writeFileSync(process.argv[1], "late")',
          join(outDir, 'late.txt'),
        ])
      },
    }
    await vite.build(app.config({ plugins: [late] }))
    expect(app.output('late.txt')).toBe('late')
    expect(await generations(app)).toEqual([1])
  })

  test('the environments of an app are published together, once', async ({ app }) => {
    const vite = await load()
    app.write('src/server.js', 'console.log("server one")')
    const published: string[][] = []
    const config = app.config({
      builder: {},
      environments: {
        client: { build: { outDir: 'dist/client' } },
        ssr: { build: { outDir: 'dist/server', rollupOptions: { input: join(app.root, 'src/server.js') } } },
      },
    })
    config.plugins = [
      atomicOutDir({
        apply: 'always',
        onPublish: (store) => published.push(readdirSync(store.current()?.path ?? '').sort()),
      }),
    ]
    const builder = await vite.createBuilder(config, null)
    await builder.buildApp()
    expect(published).toEqual([['client', 'server']])
    expect(app.output('server/server.js')).toContain('server one')
    expect(app.output('client/main.js')).toContain('one')
  })

  test('watch: each rebuild is published, a failed one is not, and the next good one is', async ({ app }) => {
    const vite = await load()
    let wake = (): void => {}
    const config = app.config({ build: { watch: {} } })
    config.plugins = [atomicOutDir({ onPublish: () => wake() })]
    const publish = (): Promise<void> => new Promise((resolve) => (wake = resolve))
    const first = publish()
    const watcher = (await vite.build(config)) as Rolldown.RolldownWatcher
    // Saved again until it is seen: chokidar 3, in Vite 6 and 7, drops a change within 50 ms of the one before.
    const edit = async (text: string, seen: Promise<void>): Promise<void> => {
      const save = (): void => app.write('src/main.js', text)
      const again = setInterval(save, 250)
      save()
      await seen.finally(() => clearInterval(again))
    }
    const failure = (): Promise<void> =>
      new Promise((resolve) => watcher.on('event', ({ code }) => void (code === 'ERROR' && resolve())))
    try {
      await first
      expect(app.output()).toContain('one')
      await edit('console.log("two")', publish())
      expect(app.output()).toContain('two')

      await edit('console.log("three"', failure())
      expect(app.output()).toContain('two')

      await edit('console.log("four")', publish())
      expect(app.output()).toContain('four')
      expect(lstatSync(join(app.root, 'dist')).isSymbolicLink()).toBe(true)
    } finally {
      await watcher.close()
    }
    expect(await generations(app)).toHaveLength(2)
  })

  test('watch: the environments of an app are published together, after the first builds and after an edit', async ({
    app,
  }) => {
    const vite = await load()
    app.write('src/shared.js', 'export const version = "one"')
    for (const name of ['main', 'server'])
      app.write(`src/${name}.js`, 'import { version } from "./shared.js"; console.log(version)')
    const published: string[] = []
    const config = app.config({
      builder: {
        async buildApp(builder) {
          watchers = await Promise.all(
            Object.values(builder.environments).map((environment) => builder.build(environment)),
          )
        },
      },
      build: { watch: {} },
      environments: {
        client: { build: { outDir: 'dist/client' } },
        ssr: { build: { outDir: 'dist/server', rollupOptions: { input: join(app.root, 'src/server.js') } } },
      },
    })
    let watchers: unknown[] = []
    const versionOf = (file: string): string => /"(one|two)"/.exec(app.output(file))?.[1] ?? 'none'
    config.plugins = [
      atomicOutDir({
        onPublish: () => published.push(`${versionOf('client/main.js')} ${versionOf('server/server.js')}`),
      }),
    ]
    await (await vite.createBuilder(config, null)).buildApp()
    try {
      await expect.poll(() => published, { timeout: 20_000 }).toEqual(['one one'])
      app.write('src/shared.js', 'export const version = "two"')
      await expect.poll(() => published, { timeout: 20_000 }).toEqual(['one one', 'two two'])
    } finally {
      for (const watcher of watchers) await (watcher as Rolldown.RolldownWatcher).close()
    }
  })

  test('outDirs without a folder of their own are refused', async ({ app }) => {
    const vite = await load()
    await expect(vite.build(app.config({ build: { outDir: '.' } }))).rejects.toThrow(/build\.outDir/)
  })
})

test('wrong options of atomicOutDir() are refused by name, before there is a Vite', () => {
  expect(() => atomicOutDir({ apply: 'sometimes' as never })).toThrow(/options\.apply/)
  expect(() => atomicOutDir({ outDir: 'dist' } as never)).toThrow(/options\.outDir/)
})
