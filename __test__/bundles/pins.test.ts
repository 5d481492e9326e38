// @module-tag system
/** Pins end with their holder, for whatever reason it ends, and not before (bundles/pin-ends-with-its-holder, bundles/one-generation-per-graph, bundles/working-directory-stays). */

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect } from 'vitest'
import { type BundleStore, type Generation, handOver, openBundles } from 'warmswap'
import { test as raceTest } from 'warmswap/vitest'
import { start } from '../support/children.js'
import { SWEEP_MS, sweepKills } from '../support/kills.js'
import { repository } from '../support/paths.js'
import { publish } from '../support/stores.js'
import { test } from '../support/temp.js'

/** A control group in which a process that takes more than 256 MiB is killed by the kernel; undefined where none can be made. */
interface MemoryGroup {
  join(pid: number): void
  remove(): void
}

function makeMemoryGroup(): MemoryGroup | undefined {
  const limit = String(256 * 2 ** 20)
  const places = [
    { parent: '/sys/fs/cgroup', limits: { 'memory.max': limit, 'memory.swap.max': '0' } },
    { parent: '/sys/fs/cgroup/memory', limits: { 'memory.limit_in_bytes': limit, 'memory.swappiness': '0' } },
  ]
  for (const { parent, limits } of places) {
    const folder = join(parent, `warmswap-test-${process.pid}`)
    try {
      mkdirSync(folder)
    } catch {
      continue
    }
    try {
      for (const [name, value] of Object.entries(limits)) writeFileSync(join(folder, name), value, { flag: 'r+' })
      return {
        join: (pid) => writeFileSync(join(folder, 'cgroup.procs'), String(pid)),
        remove: () => rmdirSync(folder),
      }
    } catch {
      rmdirSync(folder)
    }
  }
  return undefined
}

const memoryGroup = makeMemoryGroup()
afterAll(() => memoryGroup?.remove())

const program = (name: string): string => join(repository, '__test__/programs', name)

/** Whether generation 1 survives a collection, once another one is current. */
async function survives(store: BundleStore): Promise<boolean> {
  return (await store.collect()).pinned.includes(1)
}

async function storeWithOne(folder: string): Promise<BundleStore> {
  const store = await openBundles(join(folder, 'store'), { keep: 0 })
  await publish(store, { a: '1' })
  return store
}

describe('bundles/pin-ends-with-its-holder: a pin ends with its holder', () => {
  raceTest.for(['stop', 'kill'] as const)(
    '%s() at a swept moment: held until its end, and not after it',
    { timeout: SWEEP_MS },
    async (end, { race, tempRoot }) => {
      await using store = await storeWithOne(tempRoot)
      const holder = await race.start({
        command: [process.execPath, program('bundles-holder.mjs'), store.root, 'stay'],
        ready: { line: /^holding/ },
      })
      await sweepKills(
        race,
        `a pin, ${end}`,
        () => holder.restart('kill'),
        async () => {
          const { number } = store.current() as Generation
          await publish(store, { a: 'next' })
          expect((await store.collect()).pinned, 'while it lives').toEqual([number])
          await holder[end]()
          expect((await store.collect()).pinned, 'after its end').toEqual([])
        },
      )
    },
  )

  test.for(['exit', 'throw', 'leave a grandchild'])('%s', async (ending, { memory }) => {
    await using store = await storeWithOne(memory)
    const child = start(process.execPath, [program('bundles-holder.mjs'), store.root, ending])
    const grandchild =
      ending === 'leave a grandchild' ? Number((await child.line(/^grandchild/)).split(' ')[1]) : undefined
    await child.line(/^holding 1$/)
    await publish(store, { a: '2' })
    await child.ended
    expect(await survives(store)).toBe(false)
    expect(existsSync(join(store.root, 'gens/000001'))).toBe(false)
    if (grandchild !== undefined) process.kill(grandchild)
  })

  test.skipIf(memoryGroup === undefined)(
    `killed by the out-of-memory killer${memoryGroup ? '' : ' (NOT RUN: no control group with a memory limit can be made here)'}`,
    async ({ memory }) => {
      await using store = await storeWithOne(memory)
      const child = start(process.execPath, [program('bundles-holder.mjs'), store.root, 'eat memory'])
      await child.line(/^holding 1$/)
      memoryGroup?.join(child.pid)
      await publish(store, { a: '2' })
      expect(await survives(store)).toBe(true)
      child.say('eat')
      expect(await child.ended).toEqual({ code: null, signal: 'SIGKILL' })
      expect(await survives(store)).toBe(false)
    },
  )

  test('out of heap', async ({ memory }) => {
    await using store = await storeWithOne(memory)
    const child = start(process.execPath, [
      '--max-old-space-size=32',
      program('bundles-holder.mjs'),
      store.root,
      'eat heap',
    ])
    await child.line(/^holding 1$/)
    await publish(store, { a: '2' })
    child.say('eat')
    await child.ended
    expect(child.stderr()).toContain('out of memory')
    expect(await survives(store)).toBe(false)
  })

  test('SIGSTOP keeps it', async ({ memory }) => {
    await using store = await storeWithOne(memory)
    const child = start(process.execPath, [program('bundles-holder.mjs'), store.root, 'stay'])
    await child.line(/^holding 1$/)
    child.signal('SIGSTOP')
    await publish(store, { a: '2' })
    expect(await survives(store)).toBe(true)
    child.signal('SIGKILL')
    await child.ended
    expect(await survives(store)).toBe(false)
  })

  test.for(['terminate()', 'exit'])(
    'a worker thread: %s; the share of another thread is kept',
    async (ending, { memory }) => {
      await using store = await storeWithOne(memory)
      const worker = new Worker(program('bundles-holder.mjs'), {
        workerData: { root: store.root, ending: ending === 'exit' ? 'exit' : 'stay' },
      })
      const ended = once(worker, 'exit')
      expect(await once(worker, 'message')).toEqual(['holding 1'])
      const ours = store.pin({ generation: 1 })
      await publish(store, { a: '2' })
      if (ending === 'terminate()') await worker.terminate()
      await ended
      expect(await survives(store)).toBe(true)
      ours.release()
      expect(await survives(store)).toBe(false)
    },
  )

  test('the stage of a terminated worker is swept', async ({ memory }) => {
    await using store = await storeWithOne(memory)
    const worker = new Worker(program('bundles-holder.mjs'), {
      workerData: { root: store.root, ending: 'leave a stage' },
    })
    await once(worker, 'message')
    expect((await store.collect()).sweptStages).toBe(0)
    await worker.terminate()
    expect((await store.collect()).sweptStages).toBe(1)
    expect(readdirSync(join(store.root, 'stage'))).toEqual([])
  })
})

describe('hand-over: the child pins before the parent releases', () => {
  test('a child process', async ({ memory }) => {
    await using store = await storeWithOne(memory)
    const child = fork(program('bundles-taker.mjs'))
    const pin = store.pin()
    await handOver(child, pin)
    pin.release()
    await publish(store, { a: '2' })
    expect(await survives(store)).toBe(true)
    child.send('read')
    expect(await once(child, 'message')).toMatchObject([{ text: '1' }, undefined])
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await survives(store)).toBe(false)
  })

  test('a worker thread', async ({ memory }) => {
    await using store = await storeWithOne(memory)
    const worker = new Worker(program('bundles-taker.mjs'))
    const pin = store.pin()
    await handOver(worker, pin)
    pin.release()
    await publish(store, { a: '2' })
    worker.postMessage('read')
    expect(await once(worker, 'message')).toEqual([{ text: '1' }])
    await worker.terminate()
    expect(await survives(store)).toBe(false)
  })

  test('several generations to one child, in order', async ({ memory }) => {
    await using store = await openBundles(join(memory, 'store'), { keep: 1 })
    for (const text of ['1', '2']) await publish(store, { a: text })
    const text = `import { takeOver } from 'warmswap'; const pins = [await takeOver(), await takeOver()]; console.log(pins.map((pin) => pin.generation.number).join()); process.exit()`
    const child = spawn(process.execPath, ['--input-type=module', '-e', text], {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    const output = once(child.stdout?.setEncoding('utf8') as NodeJS.EventEmitter, 'data')
    for (const generation of [2, 1]) {
      using pin = store.pin({ generation })
      await handOver(child, pin)
    }
    expect(await output).toEqual(['2,1\n'])
  })

  test('takeOver() does not wait forever: ERR_TIMEOUT without an offer, ERR_CLOSED without a parent', async () => {
    const text = `
      import { takeOver } from 'warmswap'
      const code = (error) => error.code
      console.log(await takeOver({ timeoutMs: 20 }).catch(code))
      const waiting = takeOver({ timeoutMs: Infinity }).catch(code)
      process.send('waiting')
      console.log(await waiting)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', text], {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    let output = ''
    child.stdout?.setEncoding('utf8').on('data', (part: string) => (output += part))
    child.on('message', (message) => message === 'waiting' && child.disconnect())
    await Promise.all([once(child, 'exit'), once(child.stdout as NodeJS.EventEmitter, 'end')])
    expect(output).toBe('ERR_TIMEOUT\nERR_CLOSED\n')
  })

  test('a child that never calls takeOver() is ERR_TIMEOUT, one that ends is ERR_WORKER_EXITED', async ({ memory }) => {
    await using store = await storeWithOne(memory)
    using pin = store.pin()
    const deaf = new Worker('setInterval(() => {}, 1000)', { eval: true })
    await expect(handOver(deaf, pin, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    const handing = expect(handOver(deaf, pin)).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED' })
    await deaf.terminate()
    await handing
    await expect(handOver(deaf, pin)).rejects.toMatchObject({ code: 'ERR_WORKER_EXITED' })
  })
})

describe('bundles/one-generation-per-graph: a module graph is of one generation', () => {
  const graph = (marker: string): Record<string, string> => ({
    'main.mjs': `
      import { Worker } from 'node:worker_threads'
      import { once } from 'node:events'
      import { part } from './part.mjs'
      export const load = async () => {
        const [worker] = await once(new Worker(new URL('./worker.mjs', import.meta.url), { execArgv: [] }), 'message')
        const { default: data } = await import('./data.json', { with: { type: 'json' } })
        const { common, fail } = await import('./lazy.mjs')
        let stack = ''
        try { fail() } catch (error) { stack = /source-\\w+\\.ts/.exec(error.stack)?.[0] ?? error.stack }
        return { part, common, json: data.marker, worker, stack }
      }`,
    'part.mjs': `export const part = '${marker}'`,
    'lazy.mjs': `import { createRequire } from 'node:module'\nexport const common = createRequire(import.meta.url)('./common.cjs')\nexport { fail } from './fail.mjs'`,
    'common.cjs': `module.exports = '${marker}'`,
    'data.json': `{ "marker": "${marker}" }`,
    'worker.mjs': `import { parentPort } from 'node:worker_threads'\nimport { part } from './part.mjs'\nconst { default: late } = await import('./late.mjs')\nparentPort.postMessage(part === late ? part : part + late)`,
    'late.mjs': `export default '${marker}'`,
    'fail.mjs': `export const fail = () => { throw new Error('on purpose') }\n//# sourceMappingURL=fail.mjs.map`,
    'fail.mjs.map': JSON.stringify({ version: 3, sources: [`source-${marker}.ts`], names: [], mappings: 'AAAA' }),
  })
  const whole = (marker: string): object => ({
    part: marker,
    common: marker,
    json: marker,
    worker: marker,
    stack: `source-${marker}.ts`,
  })

  test('lazy chunks, CommonJS, JSON, worker entries and source maps, all loaded after three swaps', async ({
    disk,
  }) => {
    await using store = await openBundles(join(disk, 'store'), { keep: 0 })
    await publish(store, graph('one'))
    const text = `
      import { openBundles } from 'warmswap'
      import { once } from 'node:events'
      const store = await openBundles(${JSON.stringify(store.root)})
      const { load } = await import(store.pin().url('main.mjs'))
      console.log('loaded')
      await once(process.stdin, 'data')
      console.log(JSON.stringify(await load()))
      const current = await import(store.pin().url('main.mjs'))
      console.log(JSON.stringify(await current.load()))
      process.exit()`
    const child = start(process.execPath, ['--enable-source-maps', '--input-type=module', '-e', text], {
      cwd: repository,
    })
    await child.line(/^loaded$/)
    for (const marker of ['two', 'three', 'four']) await publish(store, graph(marker))
    expect(await store.collect()).toMatchObject({ kept: [4], pinned: [1] })
    child.say('go on')
    expect(JSON.parse(await child.line(/^\{/))).toEqual(whole('one'))
    expect(JSON.parse(await child.line(/^\{/))).toEqual(whole('four'))
    await child.ended
  })

  const preserving: { how: string; args?: string[]; env?: Record<string, string> }[] = [
    { how: '--preserve-symlinks', args: ['--preserve-symlinks'] },
    { how: '--preserve-symlinks-main', args: ['--preserve-symlinks-main'] },
    { how: '--preserve-symlinks', env: { NODE_OPTIONS: '--preserve-symlinks' } },
    { how: 'NODE_PRESERVE_SYMLINKS=1', env: { NODE_PRESERVE_SYMLINKS: '1' } },
  ]
  test.for(preserving)('pin.url() refuses under $how ($args, $env)', async ({ how, args = [], env = {} }, { disk }) => {
    await using store = await storeWithOne(disk)
    const text = `import { openBundles } from 'warmswap'; const store = await openBundles(${JSON.stringify(store.root)}); try { store.pin().url('a') } catch (error) { console.log(error.code, error.message) }`
    const child = start(process.execPath, [...args, '--input-type=module', '-e', text], { cwd: repository, env })
    const line = await child.line(/^ERR_/)
    expect(line).toMatch(/^ERR_UNSUPPORTED .*pin\.resolve\(\)/)
    expect(line).toContain(how)
    await child.ended
  })
})

test('bundles/working-directory-stays: the working directory of a running worker survives every swap', async ({
  disk,
}) => {
  await using store = await openBundles(join(disk, 'store'), { keep: 0 })
  await publish(store, { a: '1' })
  const pin = store.pin()
  const child = fork(program('bundles-tenant.mjs'), { cwd: pin.path, stdio: ['pipe', 'pipe', 'inherit', 'ipc'] })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const answered = new Promise<string>((resolve) => lines.on('line', (line) => line.startsWith('{') && resolve(line)))
  await handOver(child, pin)
  pin.release()
  for (const text of ['2', '3', '4', '5', '6']) await publish(store, { a: text })
  await store.collect()
  child.stdin?.write('go\n')
  const answer = JSON.parse(await answered)
  expect(answer).toMatchObject({ cwd: pin.path, relative: '1', shell: pin.path })
  expect(readFileSync(join(store.root, 'current/a'), 'utf8')).toBe('6')
  child.kill()
  await once(child, 'exit')
  expect(await survives(store)).toBe(false)
})
