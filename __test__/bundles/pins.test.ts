/** Pins end with their holder, however it ends, and not before (I5, I16, I20). */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { describe, expect } from 'vitest'
import { type BundleStore, handOver, openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const program = (name: string): string => join(repository, '__test__/processes', name)

async function publish(store: BundleStore, files: Record<string, string>): Promise<number> {
  await using stage = await store.stage()
  for (const [path, text] of Object.entries(files)) await stage.write(path, text)
  return (await stage.publish()).number
}

/** Whether generation 1 survives a collection, once another one is current. */
async function survives(store: BundleStore): Promise<boolean> {
  return (await store.collect()).pinned.includes(1)
}

async function storeWithOne(folder: string): Promise<BundleStore> {
  const store = await openBundles(join(folder, 'store'), { keep: 0 })
  await publish(store, { a: '1' })
  return store
}

describe('I5: a pin ends with its holder', () => {
  test.for(['exit', 'throw', 'SIGTERM', 'SIGKILL', 'leave a grandchild'])('%s', async (ending, { memory }) => {
    await using store = await storeWithOne(memory)
    const child = start(process.execPath, [program('bundles-holder.mjs'), store.root, ending])
    const grandchild = ending === 'leave a grandchild' ? Number((await child.line(/^grandchild/)).split(' ')[1]) : undefined
    await child.line(/^holding 1$/)
    await publish(store, { a: '2' })
    if (ending.startsWith('SIG')) {
      expect(await survives(store)).toBe(true)
      child.process.kill(ending as NodeJS.Signals)
    }
    await once(child.process, 'exit')
    expect(await survives(store)).toBe(false)
    expect(existsSync(join(store.root, 'gens/000001'))).toBe(false)
    if (grandchild !== undefined) process.kill(grandchild)
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

  test.for(['terminate()', 'exit'])('a worker thread: %s; the share of another thread stays', async (ending, { memory }) => {
    await using store = await storeWithOne(memory)
    const worker = new Worker(program('bundles-holder.mjs'), { workerData: { root: store.root, ending: ending === 'exit' ? 'exit' : 'stay' } })
    const ended = once(worker, 'exit')
    expect(await once(worker, 'message')).toEqual(['holding 1'])
    const ours = store.pin({ generation: 1 })
    await publish(store, { a: '2' })
    if (ending === 'terminate()') await worker.terminate()
    await ended
    expect(await survives(store)).toBe(true)
    ours.release()
    expect(await survives(store)).toBe(false)
  })

  test('the stage of a terminated worker is swept', async ({ memory }) => {
    await using store = await storeWithOne(memory)
    const worker = new Worker(program('bundles-holder.mjs'), { workerData: { root: store.root, ending: 'leave a stage' } })
    await once(worker, 'message')
    expect((await store.collect()).sweptStages).toBe(0)
    await worker.terminate()
    expect((await store.collect()).sweptStages).toBe(1)
    expect(readdirSync(join(store.root, 'stage'))).toEqual([])
  })
})

describe('hand-over: the child pins before the parent lets go', () => {
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

describe('I16: a module graph is of one generation', () => {
  const graph = (marker: string): Record<string, string> => ({
    'main.mjs': `import { part } from './part.mjs'\nexport const load = async () => [part, (await import('./lazy.mjs')).lazy, (await import('./data.json', { with: { type: 'json' } })).default.marker]`,
    'part.mjs': `export const part = '${marker}'`,
    'lazy.mjs': `import { createRequire } from 'node:module'\nexport const lazy = createRequire(import.meta.url)('./common.cjs')`,
    'common.cjs': `module.exports = '${marker}'`,
    'data.json': `{ "marker": "${marker}" }`,
  })

  test('also for lazy chunks after three swaps, CommonJS and JSON', async ({ disk }) => {
    await using store = await openBundles(join(disk, 'store'), { keep: 0 })
    await publish(store, graph('one'))
    using pin = store.pin()
    const first = await import(pin.url('main.mjs'))
    for (const marker of ['two', 'three', 'four']) await publish(store, graph(marker))
    await store.collect()
    expect(await first.load()).toEqual(['one', 'one', 'one'])
    using last = store.pin()
    expect(await (await import(last.url('main.mjs'))).load()).toEqual(['four', 'four', 'four'])
  })

  test('pin.url() refuses under --preserve-symlinks', async ({ disk }) => {
    await using store = await storeWithOne(disk)
    const text = `import { openBundles } from 'warmswap'; const store = await openBundles(${JSON.stringify(store.root)}); try { store.pin().url('a') } catch (error) { console.log(error.code) }`
    const child = start(process.execPath, ['--preserve-symlinks', '--input-type=module', '-e', text], { cwd: repository })
    expect(await child.line(/^ERR_/)).toBe('ERR_UNSUPPORTED')
    await child.ended
  })
})

test('I20: the working directory of a running worker survives every swap', async ({ disk }) => {
  await using store = await openBundles(join(disk, 'store'), { keep: 0 })
  await publish(store, { a: '1' })
  const pin = store.pin()
  const child = fork(program('bundles-tenant.mjs'), { cwd: pin.path, stdio: ['pipe', 'pipe', 'inherit', 'ipc'] })
  const lines: string[] = []
  child.stdout?.setEncoding('utf8').on('data', (text: string) => lines.push(...text.split('\n').filter(Boolean)))
  await handOver(child, pin)
  pin.release()
  for (const text of ['2', '3', '4', '5', '6']) await publish(store, { a: text })
  await store.collect()
  child.stdin?.write('go\n')
  await expect.poll(() => lines.find((line) => line.startsWith('{'))).toBeDefined()
  const answer = JSON.parse(lines.find((line) => line.startsWith('{')) as string)
  expect(answer).toMatchObject({ cwd: pin.path, relative: '1', shell: pin.path })
  expect(readFileSync(join(store.root, 'current/a'), 'utf8')).toBe('6')
  child.kill()
  await once(child, 'exit')
  expect(await survives(store)).toBe(false)
})
