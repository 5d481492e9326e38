/**
 * Whether a value keeps code alive. A function or an instance of a user's class references its module, and with it the
 * whole module graph of its generation: 200 MB after 50 reloads of a 4 MB graph (measured). Plain data references no
 * code.
 */

/** Maximum number of objects that are checked. Enough for typical state, and fast enough for a definition. */
const MOST_OBJECTS = 200
const MOST_CONTENTS = 2000

/** Node modules whose classes are written in JavaScript and do not look native. */
const BUILTIN_MODULES = [
  'async_hooks',
  'events',
  'worker_threads',
  'stream',
  'http',
  'http2',
  'net',
  'url',
  'util',
  'fs',
  'buffer',
  'perf_hooks',
  'diagnostics_channel',
  'readline',
  'zlib',
  'crypto',
]

/** Returns 'code' if a function or an instance of a class outside the platform is reached. */
export function kindOf(value: unknown): 'data' | 'code' {
  try {
    return reachesCode(value) ? 'code' : 'data'
  } catch {
    // A proxy whose traps throw: its handler is code.
    return 'code'
  }
}

function reachesCode(value: unknown): boolean {
  const queue = [value]
  const seen = new Set<unknown>()
  for (const next of queue) {
    if (seen.has(next) || seen.size > MOST_OBJECTS) continue
    if (typeof next === 'function' && !isPlatform(next)) return true
    if (typeof next !== 'object' || next === null) continue
    seen.add(next)
    if (!isPlain(next) && !isPlatform(Object.getPrototypeOf(next)?.constructor)) return true
    for (const content of contents(next)) if (queue.push(content) > MOST_CONTENTS) break
  }
  return false
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null
  // From any realm: the prototype of an object literal has no prototype itself.
  return (
    Array.isArray(value) ||
    prototype === null ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf'))
  )
}

function* contents(value: object): Iterable<unknown> {
  if (value instanceof Map) for (const entry of value) yield* entry
  else if (value instanceof Set || Array.isArray(value)) yield* value
  else if (isPlain(value)) for (const key of Object.keys(value)) yield property(value, key)
}

/** The value of a property. A getter is not called, but counts as code. */
function property(value: object, key: string): unknown {
  const descriptor = Object.getOwnPropertyDescriptor(value, key)
  return descriptor?.get ?? descriptor?.value
}

/** Whether a function or a class belongs to the engine, the global object or Node. */
function isPlatform(code: unknown): boolean {
  if (typeof code !== 'function') return false
  if (/\{\s*\[native code\]\s*\}\s*$/.test(Function.prototype.toString.call(code)) && !code.name.startsWith('bound '))
    return true
  const name = code.name as keyof typeof globalThis
  if (globalThis[name] === code) return true
  const { process } = globalThis as { process?: { getBuiltinModule?(id: string): Record<string, unknown> | undefined } }
  return BUILTIN_MODULES.some((id) => process?.getBuiltinModule?.(id)?.[name] === code)
}
