/** Runs the hooks of all plugins inside the build, so that they see its work directory. */

import type { Plugin, ResolvedConfig, ViteBuilder } from 'vite'
import { insideBuild } from './views.js'

type Hook = (this: unknown, ...args: unknown[]) => unknown

const HOOKS =
  'options buildStart resolveId resolveDynamicImport load transform shouldTransformCachedModule moduleParsed buildEnd outputOptions renderStart banner footer intro outro renderChunk augmentChunkHash renderError generateBundle writeBundle closeBundle watchChange closeWatcher transformIndexHtml configResolved buildApp'.split(
    ' ',
  )

const wrapped = new WeakSet<object>()

/** Wraps each hook of each plugin but `except`, once. Calls `onBuildApp` before a `buildApp` hook. */
export function wrapHooks(config: ResolvedConfig, except: string, onBuildApp: (builder: ViteBuilder) => void): void {
  for (const plugin of config.plugins)
    if (plugin.name !== except && !Object.isFrozen(plugin)) wrapPlugin(plugin, onBuildApp)
}

function wrapPlugin(plugin: Plugin, onBuildApp: (builder: ViteBuilder) => void): void {
  const hooks = plugin as unknown as Record<string, unknown>
  for (const name of HOOKS) {
    const hook = hooks[name]
    const before = name === 'buildApp' ? (onBuildApp as (argument: unknown) => void) : undefined
    if (typeof hook === 'function') {
      if (!wrapped.has(hook)) assign(hooks, name, wrap(hook as Hook, before))
    } else if (hasHandler(hook) && !Object.isFrozen(hook) && !wrapped.has(hook.handler)) {
      assign(hook, 'handler', wrap(hook.handler, before))
    }
  }
}

function hasHandler(hook: unknown): hook is { handler: Hook } {
  return typeof hook === 'object' && hook !== null && typeof (hook as { handler?: unknown }).handler === 'function'
}

function wrap(hook: Hook, before?: (argument: unknown) => void): Hook {
  const wrapper: Hook = function (...args) {
    before?.(args[0])
    return insideBuild(() => hook.apply(this, args))
  }
  wrapped.add(wrapper)
  return wrapper
}

/** Does nothing for a property that cannot be replaced. */
function assign(target: object, name: string, value: unknown): void {
  Reflect.set(target, name, value)
}
