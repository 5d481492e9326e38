/**
 * `link`: tools that empty and rewrite it do not affect pins, replaced files are kept, and the link exists at every
 * moment.
 */

// guarantee: bundles/link-harms-no-generation, bundles/replaced-directory-is-kept

import { execFile, execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect } from 'vitest'
import { type InlineConfig, build } from 'vite'
import { type BundleStore, openBundles } from 'warmswap'
import { atomicOutDir } from 'warmswap/vite'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test as base } from '../support/temp.js'

interface Project {
  root: string
  store: string
  dist: string
  write(name: string, text: string): void
}

const test = base.extend<{ project: Project }>({
  project: async ({ disk }, use) => {
    const project = {
      root: disk,
      store: join(disk, '.warmswap/dist'),
      dist: join(disk, 'dist'),
      write: (name: string, text: string): void => {
        mkdirSync(join(disk, name, '..'), { recursive: true })
        writeFileSync(join(disk, name), text)
      },
    }
    project.write('package.json', '{"name":"app","version":"1.0.0","type":"module","files":["dist"]}')
    project.write('src/main.js', 'console.log("plain build")')
    await use(project)
  },
})

async function publish(store: BundleStore, text: string): Promise<void> {
  await using stage = await store.stage()
  await stage.write('main.js', text)
  await stage.write('assets/a.js', text)
  await stage.publish()
}

const plainVite = ({ root }: Project, plugins: InlineConfig['plugins'] = []): InlineConfig => ({
  root,
  configFile: false,
  logLevel: 'silent',
  plugins,
  build: {
    minify: false,
    rollupOptions: { input: join(root, 'src/main.js'), output: { entryFileNames: '[name].js' } },
  },
})

const bin = (name: string): string => join(repository, 'node_modules/.bin', name)

const tools: Record<string, (project: Project) => unknown> = {
  'rm -rf dist/*': ({ root }) => execFileSync('sh', ['-c', 'rm -rf dist/*'], { cwd: root }),
  'rm -rf dist': ({ root }) => execFileSync('rm', ['-rf', 'dist'], { cwd: root }),
  'vite build': async (project) => await build(plainVite(project)),
  'vite build with the plugin': async (project) => await build(plainVite(project, [atomicOutDir()])),
  esbuild: ({ root }) =>
    execFileSync(bin('esbuild'), ['src/main.js', '--outfile=dist/main.js', '--log-level=error'], { cwd: root }),
  tsc: ({ root, dist }) => {
    execFileSync(bin('tsc'), ['--allowJs', '--outDir', 'dist', '--skipLibCheck', 'src/main.js'], { cwd: root })
    expect(readFileSync(join(dist, 'main.js'), 'utf8')).toContain('plain build')
  },
  rollup: ({ root }) => execFileSync(bin('rollup'), ['--silent', 'src/main.js', '-o', 'dist/main.js'], { cwd: root }),
  'a write in place': ({ dist }) => writeFileSync(join(dist, 'main.js'), 'plain build', { flag: 'r+' }),
  'chmod and a new file': ({ dist }) => {
    execFileSync('chmod', ['-R', 'a+w', `${dist}/`])
    writeFileSync(join(dist, '.nojekyll'), '')
  },
}

describe('bundles/pinned-is-unchanged: a pinned generation stays as it is while tools work on dist', () => {
  test.for(Object.keys(tools))('%s', async (name, { project }) => {
    await using store = await openBundles(project.store, { link: project.dist })
    await publish(store, 'one')
    await publish(store, 'two')
    using pin = store.pin()
    await tools[name]?.(project)
    expect(readFileSync(pin.resolve('main.js'), 'utf8')).toBe('two')
    expect(await store.verify()).toEqual({ ok: true, problems: [] })
    // A publish shows its generation, whatever happened to the link.
    await publish(store, 'three')
    expect(readFileSync(join(project.dist, 'main.js'), 'utf8')).toBe('three')
  })

  test('a publish that changes nothing shows the generation again after a tool emptied dist', async ({ project }) => {
    await using store = await openBundles(project.store, { link: project.dist })
    await publish(store, 'one')
    const shown = readlinkSync(join(store.root, 'view'))
    const again = async (): Promise<boolean> => {
      await using stage = await store.stage({ from: 'current' })
      return (await stage.publish({ ifChanged: true })).changed
    }
    expect(await again()).toBe(false)
    expect(readlinkSync(join(store.root, 'view')), 'nothing to do').toBe(shown)
    rmSync(join(project.dist, 'main.js'))
    expect(await again()).toBe(false)
    expect(readFileSync(join(project.dist, 'main.js'), 'utf8')).toBe('one')
  })

  test('every publish and rollback reaches the link, also of a process that opened the store without it', async ({
    project,
  }) => {
    await using store = await openBundles(project.store, { link: project.dist })
    await publish(store, 'one')
    await using other = await openBundles(project.store)
    await publish(other, 'two')
    expect(readFileSync(join(project.dist, 'main.js'), 'utf8')).toBe('two')
    await other.rollback(1)
    expect(readFileSync(join(project.dist, 'main.js'), 'utf8')).toBe('one')
  })
})

/** The warnings of a call that name a directory which was set aside. */
async function warnings(act: () => Promise<unknown>): Promise<string[]> {
  const seen: string[] = []
  const listen = (warning: Error & { code?: string }): void =>
    void (warning.code === 'WARMSWAP_SET_ASIDE' && seen.push(warning.message))
  // Warnings are emitted on the next tick.
  const nextTick = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))
  await nextTick()
  process.on('warning', listen)
  try {
    await act()
    await nextTick()
  } finally {
    process.off('warning', listen)
  }
  return seen
}

function setAside({ store }: Project): string[] {
  const folder = join(store, 'set-aside')
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []
}

describe('a directory with files at the path of link', () => {
  test('is refused without adopt, and not changed', async ({ project }) => {
    await expect(openBundles(project.store, { link: join(project.root, 'src') })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/src'.*adopt: true/),
    })
    expect(readdirSync(join(project.root, 'src'))).toEqual(['main.js'])
    await expect(openBundles(project.store, { adopt: 'yes' as never })).rejects.toThrow(/options\.adopt/)
  })

  test('is published and set aside with adopt: a warning and doctor name it, and nothing removes it', async ({
    project,
  }) => {
    project.write('dist/main.js', 'by hand')
    let store: BundleStore | undefined
    const seen = await warnings(
      async () => (store = await openBundles(project.store, { link: project.dist, adopt: true })),
    )
    await using opened = store as BundleStore | undefined
    if (!opened) throw new Error('not opened')
    expect(readFileSync(join(project.dist, 'main.js'), 'utf8')).toBe('by hand')
    for (const text of ['one', 'two', 'three']) await publish(opened, text)
    await opened.collect()
    await (await openBundles(project.store, { link: project.dist })).close()
    const [tree, ...more] = setAside(project)
    if (tree === undefined) throw new Error('nothing was set aside')
    expect(more).toEqual([])
    expect(readFileSync(join(tree, 'main.js'), 'utf8')).toBe('by hand')
    expect(seen).toEqual([expect.stringContaining(tree)])
    const report = execFileSync(process.execPath, [join(repository, 'dist/cli.js'), 'doctor', project.root], {
      encoding: 'utf8',
    })
    expect(report).toContain(`set aside   ${tree}`)
  })

  test('that another process creates between two publishes is refused or set aside in the same way', async ({
    project,
  }) => {
    const replaceLink = (): void => {
      rmSync(project.dist)
      project.write('dist/notes.txt', 'by hand')
    }
    await using careful = await openBundles(project.store, { link: project.dist })
    await publish(careful, 'one')
    replaceLink()
    await expect(publish(careful, 'two')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    expect(careful.current()?.number).toBe(1)
    await using store = await openBundles(project.store, { link: project.dist, adopt: true })
    replaceLink()
    expect(await warnings(async () => await publish(store, 'three'))).toHaveLength(1)
    expect(setAside(project).map((tree) => readFileSync(join(tree, 'notes.txt'), 'utf8'))).toEqual([
      'by hand',
      'by hand',
    ])
  })

  test('keeps files that another process writes into it during the adoption', async ({ project }) => {
    for (let index = 0; index < 300; index += 1) project.write(`dist/old/${index}.txt`, 'x'.repeat(1000))
    const writer = start(process.execPath, [join(repository, '__test__/programs/bundles-writer.mjs'), project.dist])
    await writer.line(/^wrote n20\.txt$/)
    // Refused or adopted: both lose nothing.
    const adopted = await openBundles(project.store, { link: project.dist, adopt: true }).catch(() => undefined)
    await adopted?.close()
    writer.say('over')
    await writer.line(/^over$/)
    await writer.ended
    const places = [project.dist, ...setAside(project)].map((place) => new Set(readdirSync(place)))
    const written = writer.lines.flatMap((line) => /^wrote (.*)$/.exec(line)?.[1] ?? [])
    expect(written.length).toBeGreaterThan(20)
    expect(written.filter((name) => !places.some((place) => place.has(name)))).toEqual([])
  })

  test('on another filesystem than the store is kept next to the link, and the store names it', async ({
    project,
    memory,
  }) => {
    const link = join(memory, 'dist')
    mkdirSync(link)
    writeFileSync(join(link, 'main.js'), 'by hand')
    await using store = await openBundles(project.store, { link, adopt: true })
    await publish(store, 'one')
    expect(readFileSync(join(link, 'main.js'), 'utf8')).toBe('one')
    const [named] = setAside(project)
    expect(named && readFileSync(join(named, 'main.js'), 'utf8')).toBe('by hand')
    expect(lstatSync(named as string).isSymbolicLink()).toBe(true)
  })

  test('a file that has the name of the temporary link is not changed', async ({ project }) => {
    project.write('.dist.warmswap', 'by hand')
    await expect(openBundles(project.store, { link: project.dist })).rejects.toMatchObject({
      message: expect.stringMatching(/\.dist\.warmswap' already exists/),
    })
    expect(readFileSync(join(project.root, '.dist.warmswap'), 'utf8')).toBe('by hand')
  })
})

describe('a plain build with atomicOutDir()', () => {
  const isLink = ({ dist }: Project): boolean => lstatSync(dist).isSymbolicLink()

  test('leaves a real directory that npm pack and cp find, and the next publish replaces it', async ({ project }) => {
    await using store = await openBundles(project.store, { link: project.dist })
    await publish(store, 'one')
    expect(
      await warnings(async () => {
        await build(plainVite(project, [atomicOutDir()]))
        expect(isLink(project)).toBe(false)
        expect(readFileSync(join(project.dist, 'main.js'), 'utf8')).toContain('plain build')
        const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json'], { cwd: project.root })
        expect(JSON.parse(stdout)[0].files.map(({ path }: { path: string }) => path)).toContain('dist/main.js')
        cpSync(project.dist, join(project.root, 'copied'), { recursive: true })
        await publish(store, 'two')
      }),
    ).toEqual([])
    expect(isLink(project)).toBe(true)
    expect(readFileSync(join(project.dist, 'main.js'), 'utf8')).toBe('two')
    expect(setAside(project)).toEqual([])
  })

  test('records a directory even if the link was removed before, and none that it did not create', async ({
    project,
  }) => {
    await using store = await openBundles(project.store, { link: project.dist, adopt: true })
    await publish(store, 'one')
    rmSync(project.dist)
    await build(plainVite(project, [atomicOutDir()]))
    await publish(store, 'two')
    expect(setAside(project)).toEqual([])
    // The same path, and on ext4 the same inode number: a directory of the user nevertheless.
    await build(plainVite(project, [atomicOutDir()]))
    rmSync(project.dist, { recursive: true })
    project.write('dist/notes.txt', 'by hand')
    await publish(store, 'three')
    expect(setAside(project).map((tree) => readdirSync(tree))).toEqual([['notes.txt']])
  })

  test('dist exists at every moment of 50 publishes and of switches between plain and published builds', {
    timeout: 60_000,
  }, async ({ project }) => {
    await using store = await openBundles(project.store, { link: project.dist })
    await publish(store, 'first')
    const watcher = start(process.execPath, [join(repository, '__test__/programs/bundles-stat.mjs'), project.dist])
    await watcher.line(/^ready$/)
    for (let index = 0; index < 50; index += 1) {
      await publish(store, `text ${index}`)
      if (index % 10 === 0) await build(plainVite(project, [atomicOutDir()]))
    }
    watcher.say('over')
    expect(await watcher.line(/^looks/)).toMatch(/\d{4,}/)
    await watcher.ended
    expect(watcher.lines.filter((line) => line.startsWith('missing'))).toEqual([])
  })

  test('a store of an earlier version, whose link leads to the pointer', async ({ project }) => {
    await using store = await openBundles(project.store)
    await publish(store, 'one')
    symlinkSync('.warmswap/dist/current', project.dist)
    await build(plainVite(project, [atomicOutDir()]))
    expect(isLink(project)).toBe(false)
    expect(await store.verify()).toEqual({ ok: true, problems: [] })
  })
})

test('ordinary users may write and remove the files that the link shows', async ({ project }) => {
  await using store = await openBundles(project.store, { link: project.dist })
  await publish(store, 'one')
  const uid = process.getuid?.() === 0 ? 65_534 : undefined
  if (uid !== undefined) execFileSync('chown', ['-R', `${uid}:${uid}`, project.root])
  execFileSync('chmod', ['755', project.root])
  const act =
    'const { rmSync, writeFileSync } = require("node:fs"); writeFileSync("dist/main.js", "mine"); rmSync("dist/assets", { recursive: true })'
  const { status, stderr } = spawnSync(process.execPath, ['-e', act], { cwd: project.root, uid, encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  expect(await store.verify()).toEqual({ ok: true, problems: [] })
})
