/**
 * Whether a value keeps code alive. A function or an instance of a user's class holds its module, and with it the
 * whole module graph of its generation: 200 MB after 50 reloads of a 4 MB graph, measured; plain data holds nothing.
 */

/** Enough for what people store at the top of a module, little enough to cost nothing at a definition. */
const MOST_OBJECTS = 200

/** Modules of Node whose classes are written in JavaScript, so that nothing about them looks native. */
const BUILTIN_MODULES = ['async_hooks', 'events', 'worker_threads', 'stream', 'http', 'http2', 'net', 'url', 'util', 'fs', 'buffer', 'perf_hooks', 'diagnostics_channel', 'readline', 'zlib', 'crypto']

/** 'code' where a function or an instance of a class that is not the platform's is reached. */
export function kindOf(value: unknown): 'data' | 'code' {
  const seen = new Set<unknown>()
  const queue = [value]
  while (queue.length > 0 && seen.size < MOST_OBJECTS) {
    const next = queue.pop()
    if (typeof next === 'function') {
      if (!isPlatform(next)) return 'code'
      continue
    }
    if (typeof next !== 'object' || next === null || seen.has(next)) continue
    seen.add(next)
    if (!isPlain(next)) {
      if (!isPlatform(Object.getPrototypeOf(next)?.constructor)) return 'code'
      if (!(next instanceof Map || next instanceof Set)) continue
    }
    queue.push(...contents(next))
  }
  return 'data'
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null
  // Of any realm: the prototype of an object literal has no prototype itself.
  return Array.isArray(value) || prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf'))
}

function contents(value: object): unknown[] {
  if (value instanceof Map) return [...value.keys(), ...value.values()].slice(0, MOST_OBJECTS)
  if (value instanceof Set) return [...value].slice(0, MOST_OBJECTS)
  // Getters are not called.
  return Object.values(Object.getOwnPropertyDescriptors(value))
    .slice(0, MOST_OBJECTS)
    .map((property) => property.value ?? property.get)
}

/** Whether a function or a class is the engine's, the global object's or Node's. */
function isPlatform(code: unknown): boolean {
  if (typeof code !== 'function') return false
  if (/\{\s*\[native code\]\s*\}\s*$/.test(Function.prototype.toString.call(code)) && !code.name.startsWith('bound ')) return true
  const name = code.name as keyof typeof globalThis
  if (globalThis[name] === code) return true
  const { process } = globalThis as { process?: { getBuiltinModule?(id: string): Record<string, unknown> | undefined } }
  return BUILTIN_MODULES.some((id) => process?.getBuiltinModule?.(id)?.[name] === code)
}
