/** Cells without the addon: one value per isolate, which covers all code of a browser page or of workerd. */

import { WarmswapError } from '../native/errors.js'
import type { CellStore } from './cells.js'
import type { PortableCell, Root } from './root.js'

/** Opens cells of this root. `maxBytes` is ignored: a clone has no size that can be read. */
export function portableCells(root: Root): (key: string) => CellStore {
  const cells = root.cells ?? new Map<string, PortableCell>()
  root.cells = cells
  return (key) => {
    let cell = cells.get(key)
    if (cell === undefined) {
      cell = { version: 0n, value: undefined, waiting: new Set() }
      cells.set(key, cell)
    }
    return storeOf(key, cell)
  }
}

function storeOf(key: string, cell: PortableCell): CellStore {
  const write = (value: unknown): bigint => {
    cell.value = value
    cell.version += 1n
    for (const wake of [...cell.waiting]) wake(cell.version)
    return cell.version
  }
  return {
    how: 'clone',
    changedSince: (version) => cell.version !== version,
    read: () => ({ packed: cell.value, version: cell.version }),
    write,
    compareAndSet: (expected, value) =>
      cell.version === expected ? { ok: true, version: write(value) } : { ok: false, version: cell.version },
    wait: (since, timeoutMs) => waitFor(key, cell, since, timeoutMs),
    pack: (value) => structuredClone(value),
    unpack: (value) => structuredClone(value),
  }
}

/** The longest timer. Longer waits never time out. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

function waitFor(
  key: string,
  cell: PortableCell,
  since: bigint,
  timeoutMs: number,
): { settled: Promise<bigint>; cancel(): void } {
  if (cell.version !== since) return { settled: Promise.resolve(cell.version), cancel: () => {} }
  let cancel!: () => void
  const settled = new Promise<bigint>((resolve, reject) => {
    const refuse = (): void =>
      reject(new WarmswapError('ERR_TIMEOUT', `cell '${key}' did not change in ${timeoutMs} ms`))
    const timer = timeoutMs <= LONGEST_TIMER_MS ? setTimeout(refuse, timeoutMs) : undefined
    // A timer of Node keeps the process alive; timers of browsers are numbers.
    ;(timer as { unref?(): void } | undefined)?.unref?.()
    cell.waiting.add(resolve)
    cancel = () => {
      clearTimeout(timer)
      cell.waiting.delete(resolve)
    }
  })
  return { settled, cancel }
}
