/** What the registry promises wherever it runs: called with the native and with the portable build. */

// guarantee: state/edit-replaces-once

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

type State = typeof import('warmswap/state')

/** Messages of the process warnings that `work` causes. */
export async function warningsOf(work: () => unknown): Promise<string[]> {
  const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  await work()
  return emit.mock.calls.map(([message]) => String(message))
}

export function registrySuite({
  defineState,
  defineStateAsync,
  dropState,
  hasState,
  listState,
  onStateChange,
  peekState,
  replaceState,
  resetState,
}: State): void {
  afterEach(async () => {
    vi.restoreAllMocks()
    await resetState()
  })

  describe('state/initialised-once: the initialiser runs once per key and version', () => {
    test('for any number of definitions', () => {
      const init = vi.fn(() => ({ count: 0 }))
      const values = Array.from({ length: 100 }, () => defineState('once', init))
      expect(new Set(values).size).toBe(1)
      expect(init).toHaveBeenCalledTimes(1)
    })

    test('for concurrent asynchronous definitions', async () => {
      const init = vi.fn(async () => {
        await new Promise((resolve) => setImmediate(resolve))
        return { count: 0 }
      })
      const values = await Promise.all(Array.from({ length: 400 }, () => defineStateAsync('once-async', init)))
      expect(new Set(values).size).toBe(1)
      expect(init).toHaveBeenCalledTimes(1)
      expect(peekState('once-async')).toBe(values[0])
      expect(defineState('once-async', () => 'another')).toBe(values[0])
    })

    test('an initialiser that throws stores nothing, and the next call tries again', () => {
      const failure = new Error('no database')
      expect(() =>
        defineState('throws', () => {
          throw failure
        }),
      ).toThrow(failure)
      expect(hasState('throws')).toBe(false)
      expect(defineState('throws', () => 1)).toBe(1)
    })

    test('an initialiser that rejects rejects all waiters, stores nothing, and the next call tries again', async () => {
      const failure = new Error('no database')
      const init = vi.fn(() => Promise.reject(failure))
      const settled = await Promise.allSettled([defineStateAsync('rejects', init), defineStateAsync('rejects', init)])
      expect(settled.map((each) => each.status === 'rejected' && each.reason)).toEqual([failure, failure])
      expect(init).toHaveBeenCalledTimes(1)
      expect(hasState('rejects')).toBe(false)
      expect(await defineStateAsync('rejects', async () => 2)).toBe(2)
    })

    test('a definition from inside itself is ERR_REENTRANT and leaves nothing behind', () => {
      const inner = (): unknown => defineState('loop', inner)
      expect(() => defineState('loop', inner)).toThrow(
        expect.objectContaining({ code: 'ERR_REENTRANT', message: expect.stringContaining("'loop'") }),
      )
      expect(defineState('loop', () => 'fine')).toBe('fine')
    })

    test.each(['at once', 'after a pause'])(
      'an asynchronous definition that waits for itself %s is ERR_REENTRANT, not a hang',
      async (when) => {
        const loop = defineStateAsync('loop-async', async () => {
          if (when === 'after a pause') await new Promise((resolve) => setImmediate(resolve))
          return defineStateAsync('loop-async', async () => 1)
        })
        await expect(loop).rejects.toMatchObject({ code: 'ERR_REENTRANT' })
      },
    )

    test('two asynchronous definitions that wait for each other are ERR_REENTRANT', async () => {
      const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
      const one: Promise<unknown> = defineStateAsync('one', () =>
        pause().then(() => defineStateAsync('two', async () => 0)),
      )
      const two: Promise<unknown> = defineStateAsync('two', () =>
        pause().then(() => defineStateAsync('one', async () => 0)),
      )
      const settled = await Promise.allSettled([one, two])
      expect(
        settled.filter((each) => each.status === 'rejected' && each.reason.code === 'ERR_REENTRANT').length,
      ).toBeGreaterThan(0)
    })

    test('a synchronous definition of a value that is still being created is ERR_NOT_READY', async () => {
      const made = defineStateAsync('slow', async () => new Promise((resolve) => setImmediate(resolve, 'made')))
      expect(() => defineState('slow', () => 'other')).toThrow(expect.objectContaining({ code: 'ERR_NOT_READY' }))
      expect(await made).toBe('made')
    })
  })

  describe('state/keys-are-opaque: keys are opaque', () => {
    test.each([['toString'], ['__proto__'], ['constructor'], [''], ['x'.repeat(10_240)], ['\ud800'], ['a\0b']])(
      '%j',
      (key) => {
        expect(hasState(key)).toBe(false)
        expect(peekState(key)).toBeUndefined()
        const value = { key }
        expect(defineState(key, () => value)).toBe(value)
        expect(peekState(key)).toBe(value)
        expect(listState().map((each) => each.key)).toEqual([key])
      },
    )

    test.each([[undefined], [null], [false], [0], [''], [Number.NaN]])('%j counts as defined', (value) => {
      const init = vi.fn(() => value)
      defineState('nothing', init)
      expect(defineState('nothing', init)).toBe(value)
      expect(hasState('nothing')).toBe(true)
      expect(init).toHaveBeenCalledTimes(1)
    })
  })

  describe('state/version-replaces-once: another version', () => {
    test('disposes of the old value once, then creates the new one', () => {
      const order: string[] = []
      const define = (version: number): string =>
        defineState(
          'versioned',
          () => {
            order.push(`init ${version}`)
            return `value ${version}`
          },
          { version, dispose: (old) => void order.push(`dispose ${old}`) },
        )
      define(1)
      define(2)
      expect(define(2)).toBe('value 2')
      expect(order).toEqual(['init 1', 'dispose value 1', 'init 2'])
      expect(listState()).toMatchObject([{ key: 'versioned', version: 2, generation: 2 }])
    })

    test('a version of another type is another version', () => {
      const dispose = vi.fn()
      expect(defineState('typed', () => 'of a number', { version: 1, dispose })).toBe('of a number')
      expect(defineState('typed', () => 'of a string', { version: '1' })).toBe('of a string')
      expect(dispose).toHaveBeenCalledExactlyOnceWith('of a number')
      expect(listState()).toMatchObject([{ version: '1', generation: 2 }])
    })

    test('migrates where it can', () => {
      defineState('migrated', () => ({ count: 41 }))
      const init = vi.fn()
      const migrate = vi.fn((old: { count: number }) => ({ count: old.count, label: 'new' }))
      expect(defineState('migrated', init, { version: 'two', migrate })).toEqual({ count: 41, label: 'new' })
      expect(migrate).toHaveBeenCalledWith({ count: 41 }, 1)
      expect(init).not.toHaveBeenCalled()
    })

    test('the asynchronous form waits for dispose', async () => {
      const order: string[] = []
      const options = (version: number) => ({
        version,
        async dispose() {
          await new Promise((resolve) => setImmediate(resolve))
          order.push('disposed')
        },
      })
      await defineStateAsync('versioned', async () => void order.push('first'), options(1))
      await defineStateAsync('versioned', async () => void order.push('second'), options(2))
      expect(order).toEqual(['first', 'disposed', 'second'])
    })

    test.each([
      [
        'throws',
        () => {
          throw new Error('socket is stuck')
        },
      ],
      ['rejects', () => Promise.reject(new Error('socket is stuck'))],
    ])('a dispose that %s is reported and blocks nothing', async (_, dispose) => {
      defineState('stuck', () => 1, { dispose })
      const warnings = await warningsOf(async () => {
        expect(defineState('stuck', () => 2, { version: 2 })).toBe(2)
        await new Promise((resolve) => setImmediate(resolve))
      })
      expect(warnings).toEqual([expect.stringMatching(/'stuck'.*socket is stuck/s)])
    })

    const fail = (): string => {
      throw new Error('not yet')
    }

    test('an initialiser that fails loses nothing: the old value is kept', () => {
      defineState('kept', () => 'old')
      expect(() => defineState('kept', fail, { version: 2 })).toThrow('not yet')
      expect(peekState('kept')).toBe('old')
      expect(defineState('kept', fail)).toBe('old')
      expect(defineState('kept', fail, { version: 2, migrate: (old) => `${old}, migrated` })).toBe('old, migrated')
    })

    test.each(['at once', 'asynchronously'])(
      'an old value that was disposed of %s is never returned again, and is not disposed of twice',
      async (how) => {
        const define = async (version: number, init: () => string): Promise<string> =>
          how === 'at once'
            ? defineState('closed', init, { version })
            : defineStateAsync('closed', async () => init(), { version })
        const dispose = vi.fn()
        defineState('closed', () => 'old', { dispose })
        await expect(define(2, fail)).rejects.toThrow('not yet')
        await expect(define(2, fail)).rejects.toThrow('not yet')
        expect([hasState('closed'), peekState('closed'), listState()]).toEqual([false, undefined, []])
        expect(dispose).toHaveBeenCalledExactlyOnceWith('old')
        expect(await define(1, () => 'made anew')).toBe('made anew')
        expect(await define(2, () => 'new')).toBe('new')
        expect(dispose).toHaveBeenCalledTimes(1)
      },
    )
  })

  describe("version 'auto'", () => {
    const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    const order: string[] = []
    const dispose = (old: string): void => void order.push(`close ${old}`)
    const made = (value: string): string => {
      order.push(`open ${value}`)
      return value
    }
    const first = (): string => made('first')
    const second = (): string => made('second')
    beforeEach(() => void order.splice(0))

    test('is the text of the initialiser: another text closes the old value, then opens the new one, once', () => {
      const define = (init: () => string): string => defineState('auto', init, { version: 'auto', dispose })
      expect([define(first), define(() => made('first')), define(second), define(second), define(first)]).toEqual([
        'first',
        'first',
        'second',
        'second',
        'first',
      ])
      expect(order).toEqual(['open first', 'close first', 'open second', 'close second', 'open first'])
      expect(listState()).toMatchObject([{ key: 'auto', version: expect.stringMatching(/^auto:\w+$/), generation: 3 }])
    })

    test('does not contain the queries that a dev server adds to imports', () => {
      const init = (query: string): (() => string) =>
        new Function(`return () => { if (false) load("/deps/pg.js${query}"); return 'made' }`)() as () => string
      for (const query of ['?v=1a2b', '?v=3c4d', '?t=17'])
        defineState('queries', init(query), { version: 'auto', dispose: () => dispose(query) })
      expect(order).toEqual([])
      defineState('queries', init('?raw'), { version: 'auto' })
      expect(order).toEqual(['close ?t=17'])
    })

    test('replaces the value of a number, and a number replaces it', () => {
      expect(defineState('changed', first, { version: 1, dispose })).toBe('first')
      expect(defineState('changed', second, { version: 'auto', dispose })).toBe('second')
      expect(defineState('changed', first)).toBe('first')
      expect(order).toEqual(['open first', 'close first', 'open second', 'close second', 'open first'])
    })

    test('concurrent definitions wait for dispose and open one value; the old one is not visible in between', async () => {
      const define = (init: () => Promise<string>): Promise<string> =>
        defineStateAsync('shared', init, {
          version: 'auto',
          async dispose(old) {
            order.push(`closing ${old}`)
            await pause()
            expect([hasState('shared'), peekState('shared'), listState()]).toEqual([false, undefined, []])
            dispose(old)
          },
        })
      const again = (): Promise<string> => {
        order.push('opening')
        return pause().then(second)
      }
      await define(async () => first())
      expect(await Promise.all(Array.from({ length: 50 }, () => define(again)))).toEqual(
        Array.from({ length: 50 }, () => 'second'),
      )
      expect(order).toEqual(['open first', 'closing first', 'close first', 'opening', 'open second'])
    })

    test('a dispose that fails is reported once, and the new value is created', async () => {
      const options = { version: 'auto', dispose: () => Promise.reject(new Error('socket is stuck')) }
      const warnings = await warningsOf(async () => {
        await defineStateAsync('stuck', async () => first(), options)
        expect(await defineStateAsync('stuck', async () => second(), options)).toBe('second')
      })
      expect(warnings).toEqual([expect.stringMatching(/'stuck'.*socket is stuck/s)])
    })

    test('no warning about code: an edit replaces the value', async () => {
      expect(await warningsOf(() => defineState('code', () => () => 1, { version: 'auto' }))).toEqual([])
    })

    const module = (file: string, hash: string, edition: number) => ({ file, hash, edition })
    type WithModule = (...args: [...Parameters<typeof defineState>, ReturnType<typeof module>]) => unknown

    test('the Vite plugin passes the content of the file: code of an earlier edit gets the new value', () => {
      const define = (init: () => string, ...passed: [string, string, number]): unknown =>
        (defineState as WithModule)('edited', init, { version: 'auto', dispose: dispose as never }, module(...passed))
      expect(define(first, 'a.ts', 'one', 1)).toBe('first')
      expect(define(first, 'a.ts', 'two', 2)).toBe('first')
      expect(order).toEqual(['open first', 'close first', 'open first'])
      expect(define(second, 'a.ts', 'one', 1)).toBe('first')
      expect(define(second, 'a.ts', 'one', 3)).toBe('second')
    })

    test('a file that has not defined the value keeps it, until it is edited itself', () => {
      const define = (init: () => string, ...passed: [string, string, number]): unknown =>
        (defineState as WithModule)('two files', init, { version: 'auto' }, module(...passed))
      expect(define(first, 'a.ts', 'one', 1)).toBe('first')
      expect(define(second, 'copy/a.ts', 'older', 2)).toBe('first')
      expect(define(first, 'a.ts', 'one', 3)).toBe('first')
      expect(define(second, 'copy/a.ts', 'older', 4)).toBe('first')
      expect(defineState('two files', second, { version: 'auto' })).toBe('first')
      expect(define(second, 'copy/a.ts', 'newer', 5)).toBe('second')
      expect(define(first, 'a.ts', 'one', 6)).toBe('second')
    })
  })

  describe('a dispose under way', () => {
    afterEach(() => void vi.useRealTimers())

    test.each(['dropState', 'replaceState', 'defineState'])(
      'of %s has ended before defineStateAsync creates a value',
      async (how) => {
        const order: string[] = []
        const options = {
          async dispose() {
            await new Promise((resolve) => setImmediate(resolve))
            order.push('closed')
          },
        }
        defineState('port', () => 'old', options)
        if (how === 'dropState') void dropState('port')
        else if (how === 'replaceState') replaceState('port', 'other')
        else defineState('port', () => 'other', { version: 2 })
        await defineStateAsync('port', async () => order.push('opened'), { version: 3 })
        expect(order.slice(0, 1)).toEqual(['closed'])
        expect(order.at(-1)).toBe('opened')
      },
    )

    test('that does not end is reported after 10 seconds, and the value is created', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
      defineState('hung', () => 'old', { dispose: () => new Promise<void>(() => {}) })
      const made = defineStateAsync('hung', async () => 'new', { version: 2 })
      await vi.advanceTimersByTimeAsync(9_999)
      expect([emit.mock.calls.length, hasState('hung')]).toEqual([0, false])
      await vi.advanceTimersByTimeAsync(1)
      expect(await made).toBe('new')
      expect(emit.mock.calls.map(([message]) => message)).toEqual([
        expect.stringMatching(/dispose of state 'hung' has not finished after 10 s/),
      ])
    })
  })

  describe('replace, drop, reset and the listeners', () => {
    test('each change is reported once, until the subscription ends', async () => {
      const heard: string[] = []
      const subscription = onStateChange(({ key, type }) => void heard.push(`${type} ${key}`))
      defineState('heard', () => 1)
      defineState('heard', () => 2)
      replaceState('heard', 3)
      defineState('heard', () => 4, { version: 2, migrate: (old) => old + 1 })
      expect(peekState('heard')).toBe(4)
      await dropState('heard')
      subscription[Symbol.dispose]()
      defineState('heard', () => 5)
      expect(heard).toEqual(['define heard', 'replace heard', 'migrate heard', 'drop heard'])
    })

    test('a listener that throws is reported and blocks nothing', async () => {
      using _subscription = onStateChange(() => {
        throw new Error('deaf')
      })
      const warnings = await warningsOf(() => defineState('loud', () => 1))
      expect(warnings).toEqual([expect.stringContaining('deaf')])
      expect(peekState('loud')).toBe(1)
    })

    test('drop waits for dispose, returns whether there was a value, and the key can be defined again', async () => {
      let disposed = false
      defineState('dropped', () => 1, {
        async dispose() {
          await new Promise((resolve) => setImmediate(resolve))
          disposed = true
        },
      })
      expect(await dropState('dropped')).toBe(true)
      expect(disposed).toBe(true)
      expect(await dropState('dropped')).toBe(false)
      expect(defineState('dropped', () => 2)).toBe(2)
    })

    test('reset takes what begins with the prefix, the latest first', async () => {
      const order: string[] = []
      for (const key of ['a/1', 'b/1', 'a/2']) defineState(key, () => key, { dispose: (old) => void order.push(old) })
      await resetState({ prefix: 'a/' })
      expect(order).toEqual(['a/2', 'a/1'])
      expect(listState().map(({ key }) => key)).toEqual(['b/1'])
    })

    test('replace disposes of the old value, and refuses a key that was not defined', () => {
      const dispose = vi.fn()
      defineState('replaced', () => 'old', { dispose })
      replaceState('replaced', 'new')
      expect(dispose).toHaveBeenCalledExactlyOnceWith('old')
      expect(() => replaceState('misspelt', 1)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining("'misspelt'") }),
      )
    })
  })

  describe('a value that is still being created', () => {
    const later = <T>(value: T): Promise<T> => new Promise((resolve) => setImmediate(resolve, value))

    test('does not exist yet, cannot be replaced, and is awaited by drop and reset', async () => {
      const made = defineStateAsync('pending', () => later(1))
      expect(hasState('pending')).toBe(false)
      expect(() => replaceState('pending', 2)).toThrow(expect.objectContaining({ code: 'ERR_NOT_READY' }))
      expect(await dropState('pending')).toBe(true)
      expect(await made).toBe(1)
      expect(hasState('pending')).toBe(false)

      const again = defineStateAsync('pending', () => later(2))
      await resetState()
      expect(await again).toBe(2)
      expect(hasState('pending')).toBe(false)
    })

    test('is followed by another version, in order', async () => {
      const order: string[] = []
      const define = (version: number): Promise<number> =>
        defineStateAsync(
          'ordered',
          () => {
            order.push(`init ${version}`)
            return later(version)
          },
          { version, dispose: (old) => void order.push(`dispose ${old}`) },
        )
      expect(await Promise.all([define(1), define(2), define(1), define(2)])).toEqual([1, 2, 1, 2])
      expect(order).toEqual(['init 1', 'dispose 1', 'init 2'])
    })

    test('cannot be dropped by its own initialiser', async () => {
      await expect(defineStateAsync('self', () => later(0).then(() => dropState('self')))).rejects.toMatchObject({
        code: 'ERR_REENTRANT',
      })
    })
  })

  describe('scopes', () => {
    const runTestFile = (name: string | undefined): void =>
      void Object.assign(globalThis, { [Symbol.for('warmswap/test-file@1')]: name })
    afterEach(() => runTestFile(undefined))

    test("'test-file' is a value for each run of a test file, and the last one's are disposed of", () => {
      const disposed: string[] = []
      const define = (value: string): string =>
        defineState('scoped', () => value, { scope: 'test-file', dispose: (old) => void disposed.push(old) })
      runTestFile('one')
      expect([define('first'), define('again'), peekState('scoped')]).toEqual(['first', 'first', 'first'])
      runTestFile('two')
      expect(hasState('scoped')).toBe(false)
      expect(define('second')).toBe('second')
      expect(disposed).toEqual(['first'])
    })

    test("'test-file' is 'isolate' where no test file runs", () => {
      expect(defineState('outside', () => ({}), { scope: 'test-file' })).toBe(defineState('outside', () => ({})))
    })

    test('each is a namespace of its own, and the narrowest is searched first', async () => {
      runTestFile('one')
      for (const scope of ['isolate', 'realm', 'test-file'] as const)
        expect(defineState('thrice', () => scope, { scope })).toBe(scope)
      for (const scope of ['test-file', 'realm', 'isolate']) {
        expect(peekState('thrice')).toBe(scope)
        await dropState('thrice')
      }
      expect(hasState('thrice')).toBe(false)
    })
  })

  describe('bad input is ERR_INVALID_ARGUMENT that names argument and value', () => {
    test.each([
      ['key', () => defineState(3 as never, () => 1)],
      ['init', () => defineState('bad', 3 as never)],
      ['options.version', () => defineState('bad', () => 1, { version: {} as never })],
      ['options.version', () => defineState('bad', () => 1, { version: Number.NaN })],
      ['options.scope', () => defineState('bad', () => 1, { scope: 'thread' as never })],
      ['options.dispose', () => defineState('bad', () => 1, { dispose: 3 as never })],
      ['options.verison', () => defineState('bad', () => 1, { verison: 1 } as never)],
      ['listener', () => onStateChange(3 as never)],
      ['key', () => peekState(undefined as never)],
    ])('%s', (name, call) => {
      expect(call).toThrow(
        expect.objectContaining({
          code: 'ERR_INVALID_ARGUMENT',
          message: expect.stringMatching(new RegExp(`^Invalid ${name.replace('.', '\\.')}: .* Expected `)),
        }),
      )
      expect(hasState('bad')).toBe(false)
    })

    test('asynchronous functions reject and never throw', async () => {
      for (const call of [
        () => defineStateAsync(3 as never, async () => 1),
        () => dropState(3 as never),
        () => resetState({ prefix: 3 as never }),
      ]) {
        const promise = call()
        await expect(promise).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
      }
    })
  })
}
