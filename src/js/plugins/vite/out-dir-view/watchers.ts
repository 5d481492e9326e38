/** Follows what a framework does in listeners of the watchers that it starts through a builder. */

import type { ViteBuilder } from 'vite'
import { insideBuild } from './views.js'

type Listener = (...args: unknown[]) => unknown
type Watcher = { on(event: string, listener: Listener): unknown; off?(event: string, listener: Listener): unknown }

const followed = new WeakSet<object>()

/** Calls `report` with the promise of each listener of a watcher that `builder.build()` returns. */
export function followWatchers(builder: ViteBuilder, report: (work: Promise<unknown>) => void): void {
  if (followed.has(builder)) return
  followed.add(builder)
  const build = builder.build.bind(builder)
  builder.build = async (environment) => {
    const output = await build(environment)
    if ('on' in output && !followed.has(output)) follow(output as unknown as Watcher, report)
    return output
  }
}

function follow(watcher: Watcher, report: (work: Promise<unknown>) => void): void {
  followed.add(watcher)
  const wrappers = new WeakMap<Listener, Listener>()
  const on = watcher.on.bind(watcher)
  const off = watcher.off?.bind(watcher)
  watcher.on = (event, listener) => {
    const wrapper: Listener = (...args) => {
      const result = insideBuild(() => listener.apply(watcher, args))
      if (result instanceof Promise) report(result)
      return result
    }
    wrappers.set(listener, wrapper)
    return on(event, wrapper)
  }
  if (off) watcher.off = (event, listener) => off(event, wrappers.get(listener) ?? listener)
}
