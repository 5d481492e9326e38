// @module-tag system
/** What frameworks do during a build, in plain Vite: read and write by configured paths, build from a listener, leave files for pages. */

// guarantee: bundles/build-sees-its-work, bundles/open-pages-keep-their-chunks

import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { openBundles } from 'warmswap'
import { atomicOutDir } from 'warmswap/vite'
import { describe, expect, onTestFinished, vi } from 'vitest'
import type { InlineConfig, Plugin, Rolldown } from 'vite'
import { test as base } from '../support/temp.js'

type Vite = typeof import('vite')
const versions: [string, () => Promise<Vite>][] = [
  ['6', () => import('vite6') as unknown as Promise<Vite>],
  ['7', () => import('vite7') as unknown as Promise<Vite>],
  ['8', () => import('vite')],
]
const published = { apply: 'always' as const }

const test = base.extend<{ root: string; write: (name: string, text: string) => void }>({
  root: async ({ disk }, use) => {
    writeFileSync(join(disk, 'package.json'), '{"private":true,"type":"module"}')
    await use(disk)
  },
  write: async ({ root }, use) =>
    await use((name, text) => {
      mkdirSync(join(root, name, '..'), { recursive: true })
      writeFileSync(join(root, name), text)
    }),
})

/** An app with a client and a server environment. */
function app(root: string, plugins: Plugin[], options = {}): InlineConfig {
  return {
    root,
    configFile: false,
    logLevel: 'silent',
    builder: {},
    plugins: [...plugins, atomicOutDir({ ...published, ...options })],
    environments: {
      client: { build: { outDir: 'dist/client', manifest: true, rollupOptions: { input: join(root, 'client.js') } } },
      ssr: { build: { outDir: 'dist/server', ssr: true, rollupOptions: { input: join(root, 'server.js') } } },
    },
  }
}

describe.each(versions)('a build on Vite %s', (_version, load) => {
  test('sees its work at the configured paths, and other readers see the previous generation', async ({
    root,
    write,
  }) => {
    const vite = await load()
    write('client.js', 'console.log("one")')
    write(
      'server.js',
      `import text from '/dist/client/note.txt?raw'\nimport note from './dist/client/note.js'\nconsole.log(text, note)`,
    )
    const seen: Record<string, unknown> = {}
    let number = 'one'
    const framework = (look: () => void): Plugin => ({
      name: 'framework',
      writeBundle() {
        const name = this.environment.name
        if (name !== 'client') return
        const client = join(root, 'dist/client')
        seen.before = existsSync(join(client, 'note.txt'))
        // By a constant, by a URL, and as a relative path.
        writeFileSync(join(client, 'note.txt'), `note ${number}`)
        writeFileSync(pathToFileURL(join(client, 'note.js')), `export default 'module ${number}'`)
        look()
      },
      buildStart() {
        if (this.environment.name !== 'ssr') return
        seen.manifest = JSON.parse(readFileSync(join(root, 'dist/client/.vite/manifest.json'), 'utf8'))
      },
      async closeBundle() {
        if (this.environment.name === 'ssr') seen.names = readdirSync(join(root, 'dist')).sort()
        seen.read = await readFile(join(root, 'dist/client/note.txt'), 'utf8')
      },
    })
    const build = async (look: () => void): Promise<void> =>
      await (await vite.createBuilder(app(root, [framework(look)]), null)).buildApp()
    await build(() => {})
    expect(seen).toMatchObject({ before: false, read: 'note one', names: ['client', 'server'] })
    expect(Object.keys(seen.manifest as object)).toEqual(['client.js'])

    number = 'two'
    let outside = (): void => {}
    let other = ''
    const reader = new Promise<void>((resolve) => (outside = resolve)).then(() => {
      other = readFileSync(join(root, 'dist/client/note.txt'), 'utf8')
    })
    await Promise.all([reader, build(outside)])
    expect([seen.read, other]).toEqual(['note two', 'note one'])
    expect(readFileSync(join(root, 'dist/server/server.js'), 'utf8')).toMatch(
      /note two[\s\S]*module two|module two[\s\S]*note two/,
    )
    expect(readdirSync(join(root, '.warmswap/dist/stage'))).toEqual([])
  })

  test('imports its own output in a worker', async ({ root, write }) => {
    const vite = await load()
    write('client.js', 'console.log("client")')
    write('server.js', 'export const page = "rendered"')
    write(
      'worker.mjs',
      `import { workerData, parentPort } from 'node:worker_threads'
import { readdirSync } from 'node:fs'
parentPort.postMessage({ ...(await import(workerData + '/server/server.js')), names: readdirSync(workerData) })`,
    )
    const seen: unknown[] = []
    const prerender: Plugin = {
      name: 'prerender',
      async closeBundle() {
        if (this.environment.name !== 'ssr') return
        const dist = join(root, 'dist')
        const worker = new Worker(join(root, 'worker.mjs'), { workerData: dist, env: { ...process.env } })
        const [message] = (await once(worker, 'message')) as [{ page: string; names: string[] }]
        seen.push(message.page, message.names.sort())
      },
    }
    await (await vite.createBuilder(app(root, [prerender]), null)).buildApp()
    expect(seen).toEqual(['rendered', ['client', 'server']])
  })

  test('of environments in separate folders is published into each, and node_modules is not changed', async ({
    root,
    write,
  }) => {
    const vite = await load()
    for (const name of ['client', 'server', 'bridge']) write(`${name}.js`, `console.log('${name}')`)
    const config = app(root, [])
    const bridge = join(root, 'node_modules/framework/dist')
    const { client, ssr } = config.environments as Record<string, { build: { outDir: string } }>
    client!.build.outDir = 'public-build'
    ssr!.build.outDir = 'server-build/app'
    config.environments!.bridge = {
      build: { outDir: bridge, emptyOutDir: true, ssr: true, rollupOptions: { input: join(root, 'bridge.js') } },
    }
    await (await vite.createBuilder(config, null)).buildApp()
    expect(readFileSync(join(root, 'server-build/app/server.js'), 'utf8')).toContain('server')
    expect(existsSync(join(root, 'public-build/.vite/manifest.json'))).toBe(true)
    expect(
      readdirSync(join(root, '.warmswap'))
        .filter((name) => !name.startsWith('.'))
        .sort(),
    ).toEqual(['public-build', 'server-build-app'])
    expect(lstatSync(bridge).isDirectory()).toBe(true)
    expect(readdirSync(bridge)).toEqual(['bridge.js'])
  })

  test('into a folder with sources is refused with the name of the environment', async ({ root, write }) => {
    const vite = await load()
    write('client.js', 'console.log(1)')
    const config = app(root, [])
    const { ssr } = config.environments as Record<string, { build: { outDir: string } }>
    ssr!.build.outDir = '.'
    await expect(vite.createBuilder(config, null)).rejects.toThrow(
      /environment 'ssr'.*environments\.ssr\.build\.outDir/s,
    )
    expect(existsSync(join(root, 'client.js'))).toBe(true)
  })
})

test('files that a later plugin writes in a buildApp hook of the order post are published too', async ({
  root,
  write,
}) => {
  const vite = await import('vite')
  write('client.js', 'console.log("client")')
  write('server.js', 'console.log("server")')
  let pages: string[] = []
  const generator: Plugin = {
    name: 'generator',
    enforce: 'post',
    buildApp: { order: 'post', handler: async () => writeFileSync(join(root, 'dist/page.html'), 'page') },
  }
  const config = app(root, [], { onPublish: () => (pages = readdirSync(join(root, 'dist')).sort()) })
  config.plugins!.push(generator)
  await (await vite.createBuilder(config, null)).buildApp()
  expect(pages).toEqual(['client', 'page.html', 'server'])
})

test("watch: the output of a framework's listener is published with the build that triggered it", async ({
  root,
  write,
}) => {
  const vite = await import('vite')
  write('client.js', 'console.log("client")')
  write('server.js', 'console.log("server one")')
  const publishes: string[] = []
  const dist = (file: string): string => readFileSync(join(root, 'dist', file), 'utf8')
  const watchers: Rolldown.RolldownWatcher[] = []
  const server = (): string => /server (one|two)/.exec(readFileSync(join(root, 'server.js'), 'utf8'))?.[1] ?? ''
  const framework: Plugin = {
    name: 'framework',
    async buildApp(builder) {
      const watcher = (await builder.build(builder.environments.ssr!)) as Rolldown.RolldownWatcher
      watchers.push(watcher)
      await new Promise<void>((resolve) => {
        watcher.on('event', async ({ code }) => {
          if (code !== 'BUNDLE_END') return
          const client = (await builder.build(builder.environments.client!)) as Rolldown.RolldownWatcher
          await new Promise<void>((built) => {
            client.on('event', async ({ code: ended }) => {
              if (ended !== 'BUNDLE_END') return
              await client.close()
              built()
            })
          })
          writeFileSync(join(root, 'dist/page.html'), `page of ${server()}`)
          resolve()
        })
      })
    },
  }
  const config = app(root, [framework], {
    onPublish: () => publishes.push(`${dist('page.html')}, ${/server \w+/.exec(dist('server/server.js'))?.[0]}`),
  })
  await (await vite.createBuilder({ ...config, build: { watch: {} } }, null)).buildApp()
  try {
    await expect.poll(() => publishes, { timeout: 20_000 }).toEqual(['page of one, server one'])
    write('server.js', 'console.log("server two")')
    await expect.poll(() => publishes.at(-1), { timeout: 20_000 }).toBe('page of two, server two')
    expect(publishes.filter((text) => /one.*two|two.*one/.test(text))).toEqual([])
  } finally {
    for (const watcher of watchers) await watcher.close()
  }
})

describe('hashed files of earlier builds', () => {
  const build = async (vite: Vite, root: string, graceMs: number, extra: Plugin[] = []): Promise<void> =>
    void (await vite.build({
      root,
      configFile: false,
      logLevel: 'silent',
      plugins: [...extra, atomicOutDir({ ...published, graceMs })],
    }))
  const chunks = (root: string): string[] => readdirSync(join(root, 'dist/assets')).sort()
  const page = (write: (name: string, text: string) => void, version: string): void => {
    write('index.html', '<script type="module" src="/main.js"></script>')
    write('main.js', `import('./late.js').then(({ text }) => console.log(text, '${version}'))`)
    write('late.js', `export const text = 'late ${version}'`)
  }
  /** Has a fixed name that looks as if it had a hash. */
  const fixed: Plugin = {
    name: 'fixed',
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: `assets/app-settings-${Date.now()}.json`, source: '{}' })
      this.emitFile({ type: 'asset', fileName: 'assets/fixed-settings.json', source: '{}' })
    },
  }

  test.for(versions)('are kept for graceMs on Vite %s, and nothing else is', async ([, load], { root, write }) => {
    const vite = await load()
    page(write, 'one')
    await build(vite, root, 60_000, [fixed])
    const first = chunks(root).filter((name) => name.endsWith('.js'))
    expect(first.length).toBeGreaterThan(1)
    page(write, 'two')
    await build(vite, root, 60_000)
    const second = chunks(root)
    expect(second).toEqual(expect.arrayContaining(first))
    expect(second.filter((name) => name.includes('settings'))).toEqual([])
    expect(readFileSync(join(root, 'dist/index.html'), 'utf8')).not.toContain(
      first.find((name) => name.startsWith('index'))!,
    )
    // An unchanged build publishes nothing; a later one drops what is over its time.
    await build(vite, root, 60_000)
    const store = await openBundles(join(root, '.warmswap/dist'))
    expect(store.current()?.number).toBe(2)
    await store.close()
    page(write, 'three')
    await build(vite, root, 0)
    expect(chunks(root).filter((name) => first.includes(name) || second.includes(name))).toEqual([])
  })

  test('are dropped after graceMs, counted for each build', async ({ root, write }) => {
    const vite = await import('vite')
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => void vi.useRealTimers())
    const seen: string[][] = []
    for (const version of ['one', 'two', 'three']) {
      page(write, version)
      await build(vite, root, 60_000)
      seen.push(chunks(root))
      vi.setSystemTime(Date.now() + 40_000)
    }
    const [one = [], two = [], three = []] = seen
    const second = two.filter((name) => !one.includes(name))
    // 40 s after the second build replaced the first, both are there. 80 s after it, only the second is.
    expect(three).toEqual(expect.arrayContaining([...one, ...second]))
    page(write, 'four')
    await build(vite, root, 60_000)
    expect(chunks(root).filter((name) => one.includes(name))).toEqual([])
    expect(chunks(root)).toEqual(expect.arrayContaining(second))
  })

  test('never replace a file of the new build that has the same name and other content', async ({ root, write }) => {
    const vite = await import('vite')
    const stamp = (text: string): Plugin => ({
      name: 'stamp',
      writeBundle(_, bundle) {
        for (const name of Object.keys(bundle).filter((each) => /late/.test(each)))
          appendFileSync(join(root, 'dist', name), `// ${text}`)
      },
    })
    page(write, 'one')
    await build(vite, root, 60_000, [stamp('first')])
    const late = chunks(root).find((name) => name.startsWith('late'))!
    await build(vite, root, 60_000, [stamp('second')])
    expect(readFileSync(join(root, 'dist/assets', late), 'utf8')).toMatch(/late one(?:.|\n)*second$/)
  })

  test('emptyOutDir: false does not make them files of the build', async ({ root, write }) => {
    const vite = await import('vite')
    page(write, 'one')
    await build(vite, root, 60_000)
    const first = chunks(root)
    page(write, 'two')
    await build(vite, root, 60_000)
    const keep: Plugin = { name: 'keep', config: () => ({ build: { emptyOutDir: false } }) }
    await build(vite, root, 0, [keep])
    expect(chunks(root).filter((name) => first.includes(name))).toEqual([])
  })

  test('emptyOutDir: false adds to nothing if outDir was emptied before the build, as Astro does', async ({
    root,
    write,
  }) => {
    const vite = await import('vite')
    const keep: Plugin = { name: 'keep', config: () => ({ build: { emptyOutDir: false } }) }
    const names: string[][] = []
    for (const version of ['one', 'two', 'three']) {
      page(write, version)
      if (version === 'three')
        for (const name of readdirSync(join(root, 'dist'))) rmSync(join(root, 'dist', name), { recursive: true })
      await build(vite, root, 0, [keep])
      names.push(chunks(root))
    }
    const [one = [], two = [], three = []] = names
    expect(two).toEqual(expect.arrayContaining(one))
    expect(three.filter((name) => two.includes(name))).toEqual([])
  })

  test('are not written through a link of the new build', async ({ root, write }) => {
    const vite = await import('vite')
    page(write, 'one')
    await build(vite, root, 60_000)
    const elsewhere = join(root, 'elsewhere')
    const linked: Plugin = {
      name: 'linked',
      writeBundle() {
        renameSync(join(root, 'dist/assets'), elsewhere)
        symlinkSync(elsewhere, join(root, 'dist/assets'))
      },
    }
    page(write, 'two')
    const second = new Set<string>()
    const note: Plugin = {
      name: 'note',
      generateBundle: (_, bundle) => Object.keys(bundle).forEach((name) => second.add(name)),
    }
    await build(vite, root, 60_000, [note, linked])
    expect(
      readdirSync(elsewhere)
        .map((name) => `assets/${name}`)
        .sort(),
    ).toEqual([...second].filter((name) => name.startsWith('assets/')).sort())
  })

  test('are served by vite preview to a page of the build before', async ({ root, write }) => {
    const vite = await import('vite')
    page(write, 'one')
    await build(vite, root, 60_000)
    const server = await vite.preview({
      root,
      configFile: false,
      logLevel: 'silent',
      preview: { port: 0, host: '127.0.0.1' },
    })
    try {
      const url = server.resolvedUrls!.local[0] ?? server.resolvedUrls!.network[0]!
      const late = chunks(root).find((name) => name.startsWith('late'))!
      const get = async (): Promise<[number, string]> => {
        const response = await fetch(`${url}assets/${late}`)
        return [response.status, await response.text()]
      }
      const [, text] = await get()
      page(write, 'two')
      await build(vite, root, 60_000)
      expect(await get()).toEqual([200, text])
      expect(text).toContain('late one')
    } finally {
      await server.close()
    }
  })
})

test('an unsupported filesystem is reported with the options of the plugin', async ({ root, write }) => {
  const vite = await import('vite')
  write('index.html', '<h1>page</h1>')
  const build = vite.build({
    root,
    configFile: false,
    logLevel: 'silent',
    plugins: [atomicOutDir({ ...published, root: '/proc/warmswap' })],
  })
  await expect(build).rejects.toThrow(/proc.*option root of atomicOutDir\(\).*'dist'/s)
})
