/** The built package: which build a runtime gets (state/works-without-the-addon), several copies of it (state/copies-share-their-state), what it keeps alive (state/no-old-graph-in-memory), what a read costs (state/reads-make-no-native-call). */

import { AsyncLocalStorage } from 'node:async_hooks'
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { createContext, runInContext, runInNewContext } from 'node:vm'
import { type BuildOptions, build } from 'esbuild'
import { afterEach, describe, expect, vi } from 'vitest'
import { defineState, listState, resetState, sharedCell } from 'warmswap/state'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { warningsOf } from './suites/registry.js'

const dist = join(repository, 'dist')

afterEach(async () => {
  vi.restoreAllMocks()
  await resetState()
})

describe('state/works-without-the-addon: export conditions choose the build', () => {
  /** The bundle of a program that uses state, and the files that went into it. */
  async function bundle(options: BuildOptions): Promise<{ text: string; inputs: string[] }> {
    const result = await build({
      stdin: { contents: "export * from 'warmswap/state'", resolveDir: repository },
      bundle: true,
      write: false,
      metafile: true,
      external: ['node:*'],
      logLevel: 'error',
      ...options,
    })
    return {
      text: result.outputFiles?.[0]?.text ?? '',
      inputs: Object.keys((result.metafile as { inputs: object }).inputs),
    }
  }

  test.for([
    ['browser', { platform: 'browser' }],
    ['workerd', { platform: 'neutral', conditions: ['workerd', 'worker'] }],
    ['any other', { platform: 'neutral' }],
  ] as const)('%s gets one file without the addon and without Node', async ([, options]) => {
    const { text, inputs } = await bundle({ format: 'esm', ...options } as BuildOptions)
    expect(inputs.filter((file) => file.includes('dist/'))).toEqual(['dist/state-portable.js'])
    expect(text).not.toMatch(/node:|binding|\.node\b|require\(/)
  })

  test('Node gets the addon', async () => {
    const { inputs } = await bundle({ format: 'esm', platform: 'node' })
    expect(inputs).toContain('dist/state.js')
  })

  test('it works in a realm without Node globals', async () => {
    const { text } = await bundle({ format: 'iife', globalName: 'state', platform: 'browser' })
    const realm = createContext({ structuredClone, setTimeout, clearTimeout, AbortSignal })
    const seen = await runInContext(
      `${text}
      const one = state.defineState('als', () => ({}))
      const cell = state.sharedCell('cell')
      const version = cell.write({ some: 'data' })
      state.defineState('told', () => () => 1)
      const loop = state.defineStateAsync('loop', () => state.defineStateAsync('loop', async () => 1)).catch(({ code }) => code)
      loop.then((code) => [typeof process, state.stateBackend, one === state.defineState('als', () => ({})), cell.read().value.some, cell.changedSince(version), code].join())`,
      realm,
    )
    expect(seen).toBe('undefined,js,true,data,false,ERR_REENTRANT')
  })
})

describe('state/copies-share-their-state: two copies of the package in one thread', () => {
  /** Copies of dist/ at two paths; the seeded bug takes the root's symbol out of the registry of symbols. */
  function copies(directory: string, bug: 'none' | 'root-of-each-copy'): string[] {
    return ['one', 'two'].map((name) => {
      const copy = join(directory, name, 'dist')
      cpSync(dist, copy, { recursive: true, filter: (file) => !/\.(map|d\.ts|node)$/.test(file) })
      if (bug === 'root-of-each-copy') {
        for (const file of readdirSync(copy).filter((each) => /^state.*\.js$/.test(each))) {
          const text = readFileSync(join(copy, file), 'utf8')
          writeFileSync(join(copy, file), text.replace('const ROOT = Symbol.for(', 'const ROOT = Symbol('))
        }
      }
      return join(copy, 'state.js')
    })
  }

  async function defineInBoth(paths: string[], prepare = ''): Promise<{ same: boolean; warnings: string[] }> {
    const program = `
      const warnings = []
      process.on('warning', ({ name, message }) => warnings.push(name + ': ' + message))
      ${prepare}
      const one = await import(${JSON.stringify(paths[0])})
      const two = await import(${JSON.stringify(paths[1])})
      await import(${JSON.stringify(paths[0])} + '?v=later')
      const same = one.defineState('key', () => ({})) === two.defineState('key', () => ({}))
      await new Promise((resolve) => setImmediate(resolve))
      console.log(JSON.stringify({ same, warnings }))`
    const child = start(process.execPath, ['--no-warnings', '--input-type=module', '--eval', program], {
      testing: true,
    })
    await child.ended
    return JSON.parse(child.lines.at(-1) ?? child.stderr()) as { same: boolean; warnings: string[] }
  }

  test('they share their state, and one warning says so', async ({ disk }) => {
    const paths = copies(disk, 'none')
    const { same, warnings } = await defineInBoth(paths)
    expect(same).toBe(true)
    expect(warnings).toEqual([
      expect.stringMatching(/^WarmswapWarning: two copies of warmswap.*\/one\/dist\/.*\/two\/dist\//),
    ])
  })

  test('one copy that is evaluated twice causes no warning', async ({ disk }) => {
    const [path] = copies(disk, 'none') as [string]
    expect(await defineInBoth([path, `${path}?v=2`])).toEqual({ same: true, warnings: [] })
  })

  test('an incompatible layout is another root, and one warning says so', async ({ disk }) => {
    const [path] = copies(disk, 'none') as [string]
    const { warnings } = await defineInBoth([path, path], "globalThis[Symbol.for('warmswap/root@2')] = {}")
    expect(warnings).toEqual([expect.stringMatching(/incompatible versions of warmswap.*root@1 and warmswap\/root@2/)])
  })

  test('the check detects a root that each copy has for itself', async ({ disk }) => {
    expect((await defineInBoth(copies(disk, 'root-of-each-copy'))).same).toBe(false)
  })
})

describe('state/no-old-graph-in-memory: what is stored keeps no old module graph alive', () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void

  /** Each generation stands for the module graph of one reload; `define` runs as its code would. */
  async function generationsLeft(define: (graph: { big: number[] }, generation: number) => void): Promise<number> {
    const graphs = Array.from({ length: 50 }, (_, generation) => {
      const graph = { big: Array.from({ length: 1000 }, () => generation) }
      define(graph, generation)
      return new WeakRef(graph)
    })
    for (let turns = 0; turns < 5; turns += 1) {
      await turn()
      collectGarbage()
    }
    return graphs.filter((graph) => graph.deref() !== undefined).length
  }

  test('plain data keeps only the latest module graph, whose dispose is called', async () => {
    const left = await generationsLeft((graph) =>
      defineState('data', () => ({ length: graph.big.length }), { dispose: () => void graph.big }),
    )
    expect(left).toBeLessThanOrEqual(1)
  })

  test('the check detects functions that are stored', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const left = await generationsLeft((graph) =>
      defineState<(() => unknown)[]>('code', () => []).push(() => graph.big),
    )
    expect(left).toBe(50)
  })

  class Session {}
  test.for<[string, () => unknown]>([
    ['a function', () => () => 1],
    ['a class', () => Session],
    ['an instance of a class', () => new Session()],
    ['a function inside', () => ({ handlers: new Map([['get', [() => 1]]]) })],
    ['a bound function', () => (() => 1).bind(null)],
    [
      'a getter',
      () => ({
        get user() {
          return 'ada'
        },
      }),
    ],
    [
      'a proxy that lets nobody look',
      () =>
        new Proxy(
          {},
          {
            getPrototypeOf: () => {
              throw new Error('private')
            },
          },
        ),
    ],
    ['a subclass of the platform', () => new (class extends EventEmitter {})()],
  ])('%s causes one warning, with the place of its definition, and is listed as code', async ([what, make]) => {
    const warnings = await warningsOf(() => {
      for (let version = 1; version < 4; version += 1) defineState(what, make, { version })
    })
    expect(warnings).toEqual([
      expect.stringMatching(new RegExp(`state '${what}' \\(defined at .*package\\.test\\.ts:\\d+:\\d+\\)`)),
    ])
    expect(listState()).toEqual([
      expect.objectContaining({
        key: what,
        kind: 'code',
        version: 3,
        generation: 3,
        definedBy: expect.stringContaining('package.test.ts'),
      }),
    ])
  })

  test.for<[string, () => unknown]>([
    ['an AsyncLocalStorage', () => new AsyncLocalStorage()],
    ['an EventEmitter', () => new EventEmitter()],
    [
      'collections',
      () => ({
        map: new Map([[1, new Set([2])]]),
        date: new Date(),
        expression: /x/,
        bytes: new Uint8Array(3),
        url: new URL('file:///x'),
      }),
    ],
    ['data of another realm', () => runInNewContext('({ list: [1], map: new Map() })')],
    ['a million numbers', () => ({ list: Array.from({ length: 1_000_000 }, (_, index) => index) })],
    ['nothing', () => null],
    [
      'a circle',
      () => {
        const circle: Record<string, unknown> = {}
        circle.self = circle
        return circle
      },
    ],
  ])('%s is data and causes no warning', async ([what, make]) => {
    expect(await warningsOf(() => defineState(what, make))).toEqual([])
    expect(listState()).toEqual([expect.objectContaining({ key: what, kind: 'data' })])
  })

  test('production gets no warning', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    expect(await warningsOf(() => defineState('quiet', () => () => 1))).toEqual([])
    vi.unstubAllEnvs()
  })
})

describe('state/reads-make-no-native-call: a read makes no native call', () => {
  const binding = createRequire(import.meta.url)('../../dist/binding.cjs') as Record<string, unknown> & {
    NativeCell: { prototype: Record<string, () => unknown> }
  }
  const cellMethods = binding.NativeCell.prototype

  /** Counts the calls of everything that the addon exports while `work` runs. */
  function nativeCalls(work: () => void): number {
    const spies = [
      ...Object.keys(binding)
        .filter((name) => typeof binding[name] === 'function')
        .map((name) => vi.spyOn(binding as Record<string, () => unknown>, name)),
      ...Object.keys(cellMethods).map((name) => vi.spyOn(cellMethods, name)),
    ]
    work()
    return spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0)
  }

  test('over a million hits of defineState and a million changedSince', () => {
    const init = (): object => ({})
    defineState('hot', init)
    const cell = sharedCell('hot')
    cell.write(1)
    const calls = nativeCalls(() => {
      for (let read = 0; read < 1_000_000; read += 1) defineState('hot', init)
      for (let read = 0; read < 1_000_000; read += 1) cell.changedSince(1n)
    })
    expect(calls).toBe(0)
  })

  test('the check detects a cell whose version is read by a call', () => {
    vi.spyOn(cellMethods, 'word').mockImplementation(() => null)
    const cell = sharedCell('without a mapped version')
    expect(nativeCalls(() => void cell.changedSince(0n))).toBeGreaterThan(0)
  })
})
