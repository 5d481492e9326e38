/** Runs the hooks of all plugins inside the build, so that they see its work directory. */

import type { Plugin, ResolvedConfig, ViteBuilder } from 'vite'
import { isSeeded } from '../../../native/seeded-bugs.js'
import { insideBuild } from './views.js'

type Hook = (this: unknown, ...args: unknown[]) => unknown

const HOOKS =
  'options buildStart resolveId resolveDynamicImport load transform shouldTransformCachedModule moduleParsed buildEnd outputOptions renderStart banner footer intro outro renderChunk augmentChunkHash renderError generateBundle writeBundle closeBundle watchChange closeWatcher transformIndexHtml configResolved buildApp'.split(
    ' ',
  )

/** What runs before each `buildApp` hook and after the last one. */
export interface AppCallbacks {
  before(builder: ViteBuilder): void
  after(builder: ViteBuilder): Promise<void>
}

const wrapped = new WeakSet<object>()
/** Hooks by plugin: those of the configuration that was resolved last, because plugin objects may be used again. */
const callbacks = new WeakMap<object, Partial<AppCallbacks>>()

/**
 * Wraps each hook of each plugin but `except`, once. Returns whether `except` has the last `buildApp` hook: otherwise
 * `after` is called after the last one (Astro renders its pages in a hook of its own with the order 'post').
 */
export function wrapHooks(config: ResolvedConfig, except: string, { before, after }: AppCallbacks): boolean {
  const last = config.getSortedPlugins?.('buildApp').at(-1)
  for (const plugin of config.plugins) {
    if (plugin.name === except || Object.isFrozen(plugin)) continue
    callbacks.set(plugin, plugin === last ? { before, after } : { before })
    wrapPlugin(plugin)
  }
  if (__WARMSWAP_TESTING__ && isSeeded('out-dir-published-early')) return true
  return last === undefined || last.name === except || Object.isFrozen(last)
}

function wrapPlugin(plugin: Plugin): void {
  const hooks = plugin as unknown as Record<string, unknown>
  for (const name of HOOKS) {
    const hook = hooks[name]
    const wrap = name === 'buildApp' ? (original: Hook) => wrapApp(plugin, original) : wrapHook
    if (typeof hook === 'function') {
      if (!wrapped.has(hook)) assign(hooks, name, wrap(hook as Hook))
    } else if (hasHandler(hook) && !Object.isFrozen(hook) && !wrapped.has(hook.handler)) {
      assign(hook, 'handler', wrap(hook.handler))
    }
  }
}

function hasHandler(hook: unknown): hook is { handler: Hook } {
  return typeof hook === 'object' && hook !== null && typeof (hook as { handler?: unknown }).handler === 'function'
}

function wrapHook(hook: Hook): Hook {
  const wrapper: Hook = function (...args) {
    if (__WARMSWAP_TESTING__ && isSeeded('out-dir-unseen-by-hooks')) return hook.apply(this, args)
    return insideBuild(() => hook.apply(this, args))
  }
  wrapped.add(wrapper)
  return wrapper
}

function wrapApp(plugin: Plugin, hook: Hook): Hook {
  const wrapper: Hook = async function (...args) {
    const builder = args[0] as ViteBuilder
    const { before, after } = callbacks.get(plugin) ?? {}
    before?.(builder)
    await insideBuild(async () => await hook.apply(this, args))
    await after?.(builder)
  }
  wrapped.add(wrapper)
  return wrapper
}

/** Does nothing for a property that cannot be replaced. */
function assign(target: object, name: string, value: unknown): void {
  Reflect.set(target, name, value)
}
