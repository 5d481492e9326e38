/** What a shared cell promises wherever it runs: called with the native and with the portable build. */

import { describe, expect, test, vi } from 'vitest'

type State = typeof import('warmswap/state')

let keys = 0
const freshKey = (): string => `cell ${++keys}`

export function cellSuite({ sharedCell, stateBackend }: State): void {
  test('an unwritten cell is undefined at version 0, and each write makes it one more', () => {
    const cell = sharedCell<unknown>(freshKey())
    expect(cell.read()).toEqual({ value: undefined, version: 0n })
    expect(cell.write('one')).toBe(1n)
    expect(cell.write(undefined)).toBe(2n)
    expect(cell.read()).toEqual({ value: undefined, version: 2n })
  })

  test('two handles of a key are one cell, and keys are opaque', () => {
    const keys = ['toString', '__proto__', '', 'a\0b', '\ud800', '\ufffd', 'x'.repeat(10_240)]
    for (const key of keys) {
      const { version } = sharedCell(key).read()
      sharedCell(key).write(key)
      expect(sharedCell(key).read()).toEqual({ value: key, version: version + 1n })
    }
    for (const key of keys) expect(sharedCell(key).read().value).toBe(key)
  })

  test('values are copies on the way in and on the way out', () => {
    const cell = sharedCell<{ list: number[]; map: Map<string, Date>; big: bigint }>(freshKey())
    const value = { list: [1], map: new Map([['then', new Date(0)]]), big: 2n ** 70n }
    cell.write(value)
    value.list.push(2)
    const read = cell.read().value
    expect(read).toEqual({ list: [1], map: new Map([['then', new Date(0)]]), big: 2n ** 70n })
    read?.list.push(3)
    expect(cell.read().value?.list).toEqual([1])
  })

  test.each([
    ['a Uint8Array', () => new Uint8Array([1, 2, 3])],
    ['a Buffer', () => Buffer.from([1, 2, 3])],
    ['a Float64Array', () => new Float64Array([1, 2, 3])],
    ['an ArrayBuffer', () => new Uint8Array([1, 2, 3]).buffer],
  ])('bytes are copies as well: %s', (_, make) => {
    const cell = sharedCell<{ bytes: ArrayBufferView | ArrayBuffer }>(freshKey())
    cell.write({ bytes: make() })
    const read = (): number[] => {
      const { bytes } = cell.read().value as { bytes: Uint8Array | ArrayBuffer }
      return [
        ...(bytes instanceof Uint8Array || bytes instanceof Float64Array
          ? bytes
          : new Uint8Array(bytes as ArrayBuffer)),
      ]
    }
    const spoil = (value: { bytes: ArrayBufferView | ArrayBuffer } | undefined): void => {
      const { bytes } = value as { bytes: Uint8Array | ArrayBuffer }
      new Uint8Array(bytes instanceof ArrayBuffer ? bytes : bytes.buffer).fill(255)
    }
    spoil(cell.read().value)
    expect(read()).toEqual([1, 2, 3])
    expect(() =>
      cell.update((value) => {
        spoil(value)
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(read()).toEqual([1, 2, 3])
    expect(cell.read().version).toBe(1n)
  })

  test('compare-and-set writes onto the expected version only', () => {
    const cell = sharedCell<string>(freshKey())
    expect(cell.compareAndSet(0n, 'first')).toEqual({ ok: true, version: 1n })
    expect(cell.compareAndSet(0n, 'late')).toEqual({ ok: false, version: 1n })
    expect(cell.compareAndSet(7n, 'from nowhere')).toEqual({ ok: false, version: 1n })
    expect(cell.read().value).toBe('first')
  })

  test('update calls the change again if another write came in between', () => {
    const cell = sharedCell<number>(freshKey())
    const change = vi.fn((value = 0) => {
      if (change.mock.calls.length === 1) cell.write(10)
      return value + 1
    })
    expect(cell.update(change)).toEqual({ value: 11, version: 2n })
    expect(change).toHaveBeenCalledTimes(2)
  })

  test('an update that throws changes nothing', () => {
    const cell = sharedCell<number>(freshKey())
    expect(() =>
      cell.update(() => {
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(cell.read().version).toBe(0n)
  })

  test('changedSince sees a write immediately', () => {
    const cell = sharedCell<number>(freshKey())
    expect(cell.changedSince(0n)).toBe(false)
    const version = cell.write(1)
    expect(cell.changedSince(0n)).toBe(true)
    expect(cell.changedSince(version)).toBe(false)
  })

  describe('waitForChange', () => {
    test('resolves with the latest version, immediately for a change that has already happened', async () => {
      const cell = sharedCell<number>(freshKey())
      const waits = Array.from({ length: 20 }, () => cell.waitForChange(0n))
      cell.write(1)
      expect(new Set(await Promise.all(waits))).toEqual(new Set([1n]))
      cell.write(2)
      expect(await cell.waitForChange(0n)).toBe(2n)
    })

    test('rejects with ERR_TIMEOUT after its time', async () => {
      await expect(sharedCell(freshKey()).waitForChange(0n, { timeoutMs: 5 })).rejects.toMatchObject({
        code: 'ERR_TIMEOUT',
        retryable: true,
      })
    })

    test('rejects with the reason of its signal, before and during the wait', async () => {
      const cell = sharedCell(freshKey())
      const reason = new Error('shutting down')
      await expect(cell.waitForChange(0n, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
      const controller = new AbortController()
      const wait = cell.waitForChange(0n, { signal: controller.signal })
      controller.abort(reason)
      await expect(wait).rejects.toBe(reason)
    })

    test('rejects with ERR_CLOSED when its handle is disposed of; other handles keep working', async () => {
      const key = freshKey()
      const [closed, open] = [sharedCell(key), sharedCell(key)]
      const [ended, goesOn] = [closed.waitForChange(0n), open.waitForChange(0n)]
      closed[Symbol.dispose]()
      await expect(ended).rejects.toMatchObject({ code: 'ERR_CLOSED' })
      await expect(closed.waitForChange(0n)).rejects.toMatchObject({ code: 'ERR_CLOSED' })
      expect(() => closed.read()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
      open.write('still here')
      expect(await goesOn).toBe(1n)
    })
  })

  describe('bad input is refused and the old value is kept', () => {
    test.each([
      ['a function', () => 1],
      ['a symbol', Symbol('s')],
      ['a promise', Promise.resolve()],
      ['a function inside', { run: () => 1 }],
    ])('%s cannot be cloned', (_, value) => {
      const cell = sharedCell<unknown>(freshKey())
      cell.write('old')
      const refused = expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining('cannot be cloned'),
      })
      expect(() => cell.write(value)).toThrow(refused)
      expect(() => cell.compareAndSet(1n, value)).toThrow(refused)
      expect(() => cell.update(() => value)).toThrow(refused)
      expect(cell.read()).toEqual({ value: 'old', version: 1n })
    })

    // limit: state/cells-hold-clones
    test(
      stateBackend === 'js'
        ? 'maxBytes is not looked at, because a clone has no size'
        : 'a value over maxBytes is ERR_TOO_LARGE',
      () => {
        const cell = sharedCell<string>(freshKey(), { maxBytes: 100 })
        cell.write('old')
        if (stateBackend === 'js') return expect(cell.write('x'.repeat(100))).toBe(2n)
        expect(() => cell.write('x'.repeat(100))).toThrow(
          expect.objectContaining({
            code: 'ERR_TOO_LARGE',
            message: expect.stringMatching(/takes \d+ bytes, its limit is 100/),
          }),
        )
        expect(cell.read().value).toBe('old')
      },
    )

    test.each([
      ['key', () => sharedCell(3 as never)],
      ['options.maxBytes', () => sharedCell(freshKey(), { maxBytes: 0 })],
      ['options.maxBytes', () => sharedCell(freshKey(), { maxBytes: Number.NaN })],
      ['options.maxByte', () => sharedCell(freshKey(), { maxByte: 3 } as never)],
      ['expected', () => sharedCell(freshKey()).compareAndSet(0 as never, 1)],
      ['version', () => sharedCell(freshKey()).changedSince(0 as never)],
      ['change', () => sharedCell(freshKey()).update(3 as never)],
    ])('%s', (name, call) => {
      expect(call).toThrow(
        expect.objectContaining({
          code: 'ERR_INVALID_ARGUMENT',
          message: expect.stringMatching(new RegExp(`^Invalid ${name.replace('.', '\\.')}: .* Expected `)),
        }),
      )
    })

    test('waitForChange rejects and never throws', async () => {
      const cell = sharedCell(freshKey())
      const calls = [
        () => cell.waitForChange(0 as never),
        () => cell.waitForChange(0n, { timeoutMs: -1 }),
        () => cell.waitForChange(0n, { timeoutMs: Number.NaN }),
        () => cell.waitForChange(0n, { signal: {} as never }),
      ]
      for (const call of calls) {
        const promise = call()
        await expect(promise).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
      }
    })
  })
}
