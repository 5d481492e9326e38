/** Without an addon: every entry point can be imported, and each call that needs it says what is missing, why, and the way out. */

// guarantee: library/missing-addon-is-explained

import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import * as esbuild from 'esbuild'
import { describe, expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test as base } from '../support/temp.js'
import { versions } from '../support/vite.js'

const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
  version: string
  exports: Record<string, unknown>
}
const addon = 'warmswap.linux-x64-gnu.node'
const node22 = join(repository, 'node_modules/node22-linux-x64/bin/node')

/** A project with the package as it is packed: the addon, if any, is in its platform package. */
class Project {
  readonly package: string
  readonly platform: string

  constructor(readonly root: string) {
    this.package = join(root, 'node_modules/warmswap')
    this.platform = join(root, 'node_modules/warmswap-linux-x64-gnu')
    mkdirSync(this.package, { recursive: true })
    writeFileSync(join(root, 'package.json'), '{ "name": "user", "private": true, "type": "module" }')
    cpSync(join(repository, 'package.json'), join(this.package, 'package.json'))
    cpSync(join(repository, 'dist'), join(this.package, 'dist'), {
      recursive: true,
      filter: (path) => !/\.(node|map)$/.test(path),
    })
  }

  /** Adds the platform package; with the seal that the build writes. */
  addPlatform({ sealed }: { sealed: boolean }): string {
    const file = join(this.platform, addon)
    mkdirSync(this.platform)
    cpSync(join(repository, 'npm/linux-x64-gnu/package.json'), join(this.platform, 'package.json'))
    copyFileSync(join(repository, 'dist', addon), file)
    const bytes = readFileSync(file)
    if (sealed)
      writeFileSync(
        file.replace(/node$/, 'json'),
        JSON.stringify({
          version: manifest.version,
          size: bytes.length,
          sha256: createHash('sha256').update(bytes).digest('hex'),
        }),
      )
    return file
  }

  link(...names: string[]): void {
    for (const name of names) symlinkSync(join(repository, 'node_modules', name), join(this.root, 'node_modules', name))
  }

  run(
    args: string[],
    { node = process.execPath, env = {} }: { node?: string; env?: Record<string, string> } = {},
  ): { stdout: string; stderr: string; status: number | null; signal: string | null } {
    const { NAPI_RS_NATIVE_LIBRARY_PATH: _, ...rest } = process.env
    const { stdout, stderr, status, signal } = spawnSync(node, args, {
      cwd: this.root,
      encoding: 'utf8',
      env: { ...rest, ...env },
    })
    return { stdout: stdout.trim(), stderr, status, signal }
  }

  /** What a call that needs the addon rejects with: code and message. */
  error(flags: string[] = [], options: { node?: string; env?: Record<string, string> } = {}): string {
    const script = `import('warmswap').then(({ inspectLock }) => inspectLock('/dev/shm/missing-addon')).then(() => console.log('loaded'), (error) => console.log(error.code + ' ' + error.message))`
    const { stdout, stderr, status, signal } = this.run([...flags, '--input-type=module', '-e', script], options)
    expect([status, signal], stderr).toEqual([0, null])
    return stdout
  }
}

const test = base.extend<{ project: Project }>({
  project: async ({ disk }, use) => use(new Project(join(disk, 'user'))),
})

describe('a table of causes, each reproduced', () => {
  test('--no-addons', ({ project }) => {
    project.addPlatform({ sealed: true })
    expect(project.error(['--no-addons'])).toMatch(
      /^ERR_UNSUPPORTED .*Node was started with --no-addons\. Start it without that flag/,
    )
    expect(project.error([], { env: { NODE_OPTIONS: '--no-addons' } })).toMatch(/--no-addons/)
  })

  test.for([
    ['Node 20', process.execPath, '--experimental-permission'],
    ['Node 22', node22, '--permission'],
  ] as const)('the permission model of %s: addons, and the files that it may read', ([, node, flag], { project }) => {
    project.addPlatform({ sealed: true })
    expect(project.error([flag, '--allow-fs-read=*'], { node })).toMatch(
      /^ERR_UNSUPPORTED .*permission model does not allow addons\. Start node with --allow-addons/,
    )
  })

  test('the platform package is not installed', ({ project }) => {
    const error = project.error()
    expect(error).toMatch(
      /^ERR_UNSUPPORTED .*the package 'warmswap-linux-x64-gnu' is not installed \(platform linux, architecture x64, libc gnu, Node v/,
    )
    expect(error).toMatch(/Run 'npm install warmswap-linux-x64-gnu'.*--omit=optional.*npm\/cli#4828/)
  })

  test('node_modules was copied from another platform', ({ project }) => {
    mkdirSync(join(project.root, 'node_modules/warmswap-darwin-arm64'))
    expect(project.error()).toMatch(/node_modules holds 'warmswap-darwin-arm64'.*another platform and copied here/)
  })

  test('the lock file was made on another platform (npm/cli#4828)', ({ project }) => {
    writeFileSync(
      join(project.root, 'package-lock.json'),
      JSON.stringify({
        packages: { '': {}, 'node_modules/warmswap': {}, 'node_modules/warmswap-darwin-arm64': { optional: true } },
      }),
    )
    expect(project.error()).toMatch(
      /package-lock\.json was made on another platform: it names 'warmswap-darwin-arm64'.*npm\/cli#4828.*Delete node_modules and the lock file/,
    )
  })

  test('optional dependencies were left out', ({ project }) => {
    expect(project.error([], { env: { npm_config_omit: 'dev optional' } })).toMatch(
      /Optional dependencies were left out \(--omit=optional/,
    )
    writeFileSync(
      join(project.root, 'package-lock.json'),
      JSON.stringify({
        packages: { 'node_modules/warmswap-darwin-arm64': {}, 'node_modules/warmswap-linux-x64-gnu': {} },
      }),
    )
    expect(project.error()).toMatch(/Optional dependencies were left out \(--omit=optional/)
  })

  test('a truncated addon, with and without a seal: no SIGBUS', ({ project }) => {
    const file = project.addPlatform({ sealed: true })
    truncateSync(file, 8_000_000)
    expect(project.error()).toMatch(
      /^ERR_UNSUPPORTED .*linux-x64-gnu\.node' is damaged\. Expected \d+ bytes, got 8000000\. Install it again: remove the folder .*warmswap-linux-x64-gnu/,
    )
    rmSync(file.replace(/node$/, 'json'))
    expect(project.error()).toMatch(/is damaged\. Expected \d+ bytes, got 8000000/)
    truncateSync(file, 0)
    expect(project.error()).toMatch(/is damaged\. Expected 64 bytes, got 0/)
  })

  test('a damaged addon of the right size', ({ project }) => {
    const file = project.addPlatform({ sealed: true })
    const descriptor = openSync(file, 'r+')
    writeSync(descriptor, Buffer.alloc(4096), 0, 4096, 5_000_000)
    closeSync(descriptor)
    expect(project.error()).toMatch(/is damaged\. Expected the SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}/)
  })

  test('a file that is no library', ({ project }) => {
    writeFileSync(project.addPlatform({ sealed: false }), 'x'.repeat(1000))
    expect(project.error()).toMatch(/^ERR_UNSUPPORTED .*could not be loaded \(platform linux.*invalid ELF header/)
  })

  test.for(['esm', 'cjs'] as const)('a bundler: %s', async (format, { project }) => {
    project.addPlatform({ sealed: true })
    writeFileSync(
      join(project.root, 'user.mjs'),
      `import { inspectLock } from 'warmswap'\ninspectLock('/dev/shm/missing-addon').catch((error) => console.log(error.code + ' ' + error.message))`,
    )
    const outfile = join(project.root, `out/user.${format === 'esm' ? 'mjs' : 'cjs'}`)
    await esbuild.build({
      entryPoints: [join(project.root, 'user.mjs')],
      outfile,
      bundle: true,
      platform: 'node',
      format,
      logLevel: 'silent',
    })
    const { stdout, stderr } = project.run([outfile])
    expect(stdout, stderr).toMatch(
      /^ERR_UNSUPPORTED .*a bundler has copied the code.*Keep 'warmswap' external: esbuild.*external: \['warmswap'\]/,
    )
  })

  test('with the platform package, the addon is loaded from it', ({ project }) => {
    project.addPlatform({ sealed: true })
    expect(project.error()).toBe('loaded')
  })
})

test('every export can be imported, and none loads the addon but the state', ({ project }) => {
  project.addPlatform({ sealed: true })
  project.link('vite', 'esbuild', 'vitest')
  for (const name of Object.keys(manifest.exports).filter((each) => !each.endsWith('.json') && each !== './vitest')) {
    const script = `const all = await import('warmswap${name.slice(1)}'); console.log(Object.keys(all).length > 0, process.report.getReport().sharedObjects.some((each) => each.includes('warmswap.linux')))`
    const loads = ['.', './state'].includes(name)
    expect(project.run(['--input-type=module', '-e', script]).stdout, name).toBe(`true ${loads}`)
  }
  rmSync(project.platform, { recursive: true })
  for (const name of Object.keys(manifest.exports).filter((each) => !each.endsWith('.json') && each !== './vitest')) {
    const { stdout, stderr } = project.run([
      '--input-type=module',
      '-e',
      `console.log(Object.keys(await import('warmswap${name.slice(1)}')).length > 0)`,
    ])
    expect([stdout, stderr], name).toEqual(['true', ''])
  }
})

test('each call that needs the addon rejects, or throws where it is synchronous; the rest works', ({ project }) => {
  const script = `
    import * as w from 'warmswap'
    import { stableState, staleDepRecovery, linkEnvironments, default as all } from 'warmswap/vite'
    import { racePoint } from 'warmswap/race-point'
    const store = { stage: async () => {}, root: '/' }
    const run = { isReady: () => undefined, run: () => 1 }
    const calls = {
      openBundles: () => w.openBundles('/tmp/a'), acquireLock: () => w.acquireLock('/tmp/a'), tryLock: () => w.tryLock('/tmp/a'), withLock: () => w.withLock('/tmp/a', () => 1), waitForLock: () => w.waitForLock('/tmp/a'),
      inspectLock: () => w.inspectLock('/tmp/a'), sweepLocks: () => w.sweepLocks('/tmp'), prewarm: () => w.prewarm('/tmp/a', run), publishFenced: () => w.publishFenced({ path: '/tmp/a', generation: 1 }, '/tmp/b', '/tmp/c'), unpack: () => w.unpack('/tmp/a', '/tmp/b'),
    }
    for (const [name, call] of Object.entries(calls)) {
      let promise
      try { promise = call() } catch (error) { console.log(name + ' threw synchronously') ; continue }
      await promise.then(() => console.log(name + ' resolved'), (error) => error.code === 'ERR_UNSUPPORTED' || console.log(name, error))
    }
    for (const [name, call] of Object.entries({ pack: () => w.pack('/tmp'), openCache: () => w.openCache('memory:a') })) {
      try { call(); console.log(name + ' returned') } catch (error) { if (error.code !== 'ERR_UNSUPPORTED') console.log(name, error) }
    }
    if (w.stateBackend !== 'js' || w.defineState('a', () => 5) !== 5 || w.peekState('a') !== 5) console.log('state')
    stableState(); staleDepRecovery(); linkEnvironments([{ from: 'ssr', to: ['client'] }]); all(); racePoint('a')
    if (!w.isWarmswapError(new w.WarmswapError('ERR_IO', 'x'))) console.log('errors')
    console.log('done')`
  const { stdout, stderr } = project.run(['--input-type=module', '-e', script])
  expect(stdout, stderr).toBe('done')
})

test('the command: --help, --version and doctor work without, and doctor compares versions', ({ project }) => {
  const cli = join(project.package, 'dist/cli.js')
  expect(project.run([cli, '--help'])).toMatchObject({ status: 0, stdout: expect.stringContaining('warmswap doctor') })
  expect(project.run([cli, '--version'])).toMatchObject({ status: 0, stdout: manifest.version })
  const without = project.run([cli, 'doctor'])
  expect(without).toMatchObject({ status: 1, stderr: '' })
  expect(without.stdout).toMatch(
    /version +0\.\d+\.\d+[\s\S]*addon +missing: .*'warmswap-linux-x64-gnu' is not installed[\s\S]*bundles +no[\s\S]*state +yes/,
  )
  expect(project.run([cli, 'lock', 'ls', '/tmp']).status).toBeLessThan(2)

  const file = project.addPlatform({ sealed: true })
  expect(project.run([cli, 'doctor'])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/addon +.*linux-x64-gnu\.node, version 0\.[\s\S]*filesystem/),
  })
  const seal = file.replace(/node$/, 'json')
  writeFileSync(seal, readFileSync(seal, 'utf8').replace(`"version":"${manifest.version}"`, '"version":"0.0.9"'))
  expect(project.run([cli, 'doctor'])).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/version 0\.0\.9[\s\S]*its version differs from that of the JavaScript, 0\.1\.0/),
  })
})

test.for(versions)(
  'a dev server of $name with the default plugin serves without an addon',
  ({ package: name }, { project }) => {
    project.link(name)
    writeFileSync(join(project.root, 'index.html'), '<script type="module" src="/main.js"></script>')
    writeFileSync(join(project.root, 'main.js'), 'export const served = 1')
    const script = `
    import { createServer } from '${name}'
    import warmswap from 'warmswap/vite'
    const server = await createServer({ root: process.cwd(), configFile: false, logLevel: 'silent', plugins: [warmswap({ outDir: {}, link: [{ from: 'ssr', to: ['client'] }] })], server: { port: 0, host: '127.0.0.1', ws: false, hmr: false } })
    await server.listen()
    const { port } = server.httpServer.address()
    console.log(await (await fetch('http://127.0.0.1:' + port + '/main.js')).text())
    await server.close()`
    const { stdout, stderr } = project.run(['--input-type=module', '-e', script])
    expect(stdout, stderr).toContain('export const served = 1')
  },
)

test('no .node is in the package itself', () => {
  const [packed] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: repository,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  ) as [{ files: { path: string }[] }]
  expect(packed.files.filter(({ path }) => path.endsWith('.node'))).toEqual([])
  expect(readdirSync(join(repository, 'npm')).length).toBeGreaterThan(0)
})
