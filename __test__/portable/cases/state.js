import { assert, fails, message, thread, warmswap } from '../support.js'

const { defineState, defineStateAsync, dropState, hasState, listState, onStateChange, peekState } = warmswap
const { replaceState, resetState, sharedCell, stateBackend } = warmswap

let next = 0
/** A key of its own for each case: state lives as long as the process. */
function fresh() {
  next += 1
  return `portable/${next}`
}

export const cases = [
  ['the addon is the backend', async () => assert.equal(stateBackend, 'native')],
  [
    'defineState makes a value once',
    async () => {
      const key = fresh()
      let runs = 0
      const init = () => {
        runs += 1
        return { run: runs }
      }
      const first = defineState(key, init)
      assert.equal(defineState(key, init), first)
      assert.deepEqual([runs, first], [1, { run: 1 }])
    },
  ],
  [
    'another version disposes of the old value and makes a new one',
    async () => {
      const key = fresh()
      const disposed = []
      defineState(key, () => 'one', { version: 1, dispose: (old) => disposed.push(old) })
      assert.equal(
        defineState(key, () => 'two', { version: 2 }),
        'two',
      )
      assert.deepEqual(disposed, ['one'])
    },
  ],
  [
    'migrate makes the new value from the old one',
    async () => {
      const key = fresh()
      defineState(key, () => 1, { version: 1 })
      const migrate = (old, from) => `${old} from ${from}`
      assert.equal(
        defineState(key, () => 'new', { version: 2, migrate }),
        '1 from 1',
      )
    },
  ],
  [
    'peekState and hasState do not make a value',
    async () => {
      const key = fresh()
      assert.deepEqual([peekState(key), hasState(key)], [undefined, false])
      defineState(key, () => undefined)
      assert.deepEqual([peekState(key), hasState(key)], [undefined, true])
    },
  ],
  [
    'replaceState puts another value in its place',
    async () => {
      const key = fresh()
      defineState(key, () => 'old')
      replaceState(key, 'new')
      assert.equal(
        defineState(key, () => 'other'),
        'new',
      )
    },
  ],
  [
    'dropState disposes of the value',
    async () => {
      const key = fresh()
      const disposed = []
      defineState(key, () => 'value', { dispose: (old) => disposed.push(old) })
      assert.equal(await dropState(key), true)
      assert.equal(await dropState(key), false)
      assert.deepEqual([disposed, hasState(key)], [['value'], false])
    },
  ],
  [
    'resetState drops what begins with a prefix, the latest first',
    async () => {
      const prefix = `${fresh()}/`
      const disposed = []
      const other = fresh()
      for (const key of [`${prefix}a`, `${prefix}b`, other])
        defineState(key, () => key, { dispose: (old) => disposed.push(old) })
      await resetState({ prefix })
      assert.deepEqual(disposed, [`${prefix}b`, `${prefix}a`])
      assert.equal(hasState(other), true)
    },
  ],
  [
    'listState names what is stored',
    async () => {
      const key = fresh()
      defineState(key, () => 1, { version: 'v3' })
      const entry = listState().find((each) => each.key === key)
      assert.equal(entry.version, 'v3')
      assert.ok(!Number.isNaN(Date.parse(entry.definedAt)))
    },
  ],
  [
    'onStateChange reports each change',
    async () => {
      const key = fresh()
      const seen = []
      const listening = onStateChange((event) => event.key === key && seen.push(event.type))
      defineState(key, () => 1)
      replaceState(key, 2)
      await dropState(key)
      listening[Symbol.dispose]?.()
      assert.deepEqual(seen, ['define', 'replace', 'drop'])
    },
  ],
  [
    'defineStateAsync shares one start',
    async () => {
      const key = fresh()
      let runs = 0
      const init = async () => {
        await new Promise((done) => setImmediate(done))
        runs += 1
        return { run: runs }
      }
      const values = await Promise.all([1, 2, 3].map(() => defineStateAsync(key, init)))
      assert.equal(runs, 1)
      assert.ok(values.every((each) => each === values[0]))
    },
  ],
  [
    'a failed start is not stored',
    async () => {
      const key = fresh()
      const error = new Error('of the start')
      await assert.rejects(
        defineStateAsync(key, () => Promise.reject(error)),
        error,
      )
      assert.equal(hasState(key), false)
      assert.equal(await defineStateAsync(key, async () => 'later'), 'later')
    },
  ],
  [
    'a value is per thread',
    async (t) => {
      const key = fresh()
      defineState(key, () => 'of the main thread')
      const worker = await thread(
        t,
        `port.postMessage(warmswap.defineState(${JSON.stringify(key)}, () => 'of the worker'))`,
      )
      assert.equal(await message(worker), 'of the worker')
      assert.equal(peekState(key), 'of the main thread')
    },
  ],
  [
    'a cell is empty before the first write',
    async () => {
      assert.deepEqual(sharedCell(fresh()).read(), { value: undefined, version: 0n })
    },
  ],
  [
    'a cell has the value that was written, as a copy',
    async () => {
      const cell = sharedCell(fresh())
      const value = { list: [1, new Date(5), new Map([['a', 1n]])], bytes: new Uint8Array([1, 2]) }
      const version = cell.write(value)
      const read = cell.read()
      assert.deepEqual(read, { value, version })
      assert.notEqual(read.value, value)
    },
  ],
  [
    'two handles of one key are one cell',
    async () => {
      const key = fresh()
      sharedCell(key).write('text')
      assert.equal(sharedCell(key).read().value, 'text')
    },
  ],
  [
    'compareAndSet writes only at the expected version',
    async () => {
      const cell = sharedCell(fresh())
      const version = cell.write('one')
      const { ok, version: after } = cell.compareAndSet(version, 'two')
      assert.equal(ok, true)
      assert.deepEqual(cell.compareAndSet(version, 'three'), { ok: false, version: after })
      assert.equal(cell.read().value, 'two')
    },
  ],
  [
    'update reads, changes and writes',
    async () => {
      const cell = sharedCell(fresh())
      for (let index = 0; index < 10; index += 1) cell.update((value) => (value ?? 0) + 1)
      assert.equal(cell.read().value, 10)
    },
  ],
  [
    'changedSince reports a newer version',
    async () => {
      const cell = sharedCell(fresh())
      const version = cell.write(1)
      assert.equal(cell.changedSince(version), false)
      cell.write(2)
      assert.equal(cell.changedSince(version), true)
    },
  ],
  [
    'waitForChange resolves with a newer version',
    async () => {
      const cell = sharedCell(fresh())
      const waiting = cell.waitForChange(0n)
      const version = cell.write(1)
      assert.equal(await waiting, version)
      assert.equal(await cell.waitForChange(0n), version)
    },
  ],
  [
    'waitForChange ends with ERR_TIMEOUT, with the reason of a signal, and with ERR_CLOSED',
    async () => {
      const cell = sharedCell(fresh())
      await fails(cell.waitForChange(0n, { timeoutMs: 5 }), 'ERR_TIMEOUT')
      const reason = new Error('no longer needed')
      await assert.rejects(cell.waitForChange(0n, { signal: AbortSignal.abort(reason) }), reason)
      const waiting = cell.waitForChange(0n)
      cell[Symbol.dispose ?? Symbol.for('nodejs.dispose')]()
      await fails(waiting, 'ERR_CLOSED')
    },
  ],
  [
    'a cell is shared with a worker thread, whose write wakes a waiter',
    async (t) => {
      const key = fresh()
      const cell = sharedCell(key)
      const since = cell.write('of the main thread')
      const waiting = cell.waitForChange(since)
      const worker = await thread(
        t,
        `const cell = warmswap.sharedCell(${JSON.stringify(key)}); const { value } = cell.read(); cell.write('of the worker'); port.postMessage(value)`,
      )
      assert.equal(await message(worker), 'of the main thread')
      await waiting
      assert.equal(cell.read().value, 'of the worker')
    },
  ],
  [
    'three threads that add to a cell lose no addition',
    async (t) => {
      const key = fresh()
      const text = `const cell = warmswap.sharedCell(${JSON.stringify(key)}); for (let i = 0; i < 500; i += 1) cell.update((n) => (n ?? 0) + 1); port.postMessage('done')`
      const workers = await Promise.all([1, 2].map(() => thread(t, text)))
      const done = Promise.all(workers.map(message))
      const cell = sharedCell(key)
      for (let index = 0; index < 500; index += 1) cell.update((value) => (value ?? 0) + 1)
      await done
      assert.equal(cell.read().value, 1500)
    },
  ],
  [
    'a terminated worker leaves cells usable',
    async (t) => {
      const key = fresh()
      const worker = await thread(
        t,
        `const cell = warmswap.sharedCell(${JSON.stringify(key)}); cell.write(1); port.postMessage('writing'); for (;;) cell.update((n) => n + 1)`,
      )
      await message(worker)
      await worker.terminate()
      const cell = sharedCell(key)
      const version = cell.write('after')
      assert.deepEqual(cell.read(), { value: 'after', version })
    },
  ],
  [
    'a value over maxBytes is refused, and the old one stays',
    async () => {
      const cell = sharedCell(fresh(), { maxBytes: 1000 })
      cell.write('small')
      await fails(() => cell.write('x'.repeat(2000)), 'ERR_TOO_LARGE')
      assert.equal(cell.read().value, 'small')
    },
  ],
  [
    'arguments that are not valid are refused',
    async () => {
      await fails(() => defineState(42, () => 1), 'ERR_INVALID_ARGUMENT')
      await fails(() => defineState(fresh(), 'no function'), 'ERR_INVALID_ARGUMENT')
      await fails(() => sharedCell(42), 'ERR_INVALID_ARGUMENT')
      await fails(() => sharedCell(fresh()).write(() => 1), 'ERR_INVALID_ARGUMENT')
    },
  ],
]
