/**
 * Finds values that would be lost without an error when they are copied to another thread or process. The structured
 * clone algorithm turns a Request, a URL, or any object with private fields into `{}`.
 * Portable: the cells of browsers and workerd also use it.
 */

import { messageOf } from './callbacks.js'
import { WarmswapError } from './errors.js'

/**
 * How the value is copied. 'clone' is the structured clone algorithm, which also copies some platform classes (Blob,
 * KeyObject). 'bytes' is V8's serialisation, which turns those into `{}`.
 */
export type CopyMethod = 'clone' | 'bytes'

/** Maximum number of objects that are checked, in traversal order: 0.3 ms. Objects beyond are not checked. */
const MOST_OBJECTS = 10_000
const DEEPEST = 50

/** Classes whose copy is empty or fails, by `Symbol.toStringTag`, and what to send instead. */
const INSTEAD: Record<string, string> = {
  Request: '{ url: request.url, method: request.method, headers: [...request.headers], body: await request.text() }',
  Response:
    '{ status: response.status, headers: [...response.headers], body: await response.text() }; a handler can also answer with response.body, which arrives as a stream',
  Headers: '[...headers]',
  URL: 'url.href',
  URLSearchParams: 'String(parameters)',
  FormData: '[...formData]',
  File: '{ name: file.name, type: file.type, bytes: await file.bytes() }',
  Blob: '{ type: blob.type, bytes: new Uint8Array(await blob.arrayBuffer()) }',
  ReadableStream: 'its contents; a handler can answer with a stream, but not with an object that holds one',
  WritableStream: 'data that the other side writes',
  TransformStream: 'data that the other side transforms',
  AbortController: 'the signal option of dispatch(), which the handler gets as context.signal',
  AbortSignal: 'the signal option of dispatch(), which the handler gets as context.signal',
  Promise: 'its value: await it',
  WeakMap: 'a Map',
  WeakSet: 'a Set',
  WeakRef: 'the object itself',
  Generator: '[...generator]',
  AsyncGenerator:
    'an array of its values; a handler can answer with an async iterable, but not with an object that holds one',
}

/** Classes of the table whose copy fails. */
const UNCLONABLE = new Set(['Promise', 'WeakMap', 'WeakSet', 'WeakRef', 'Generator', 'AsyncGenerator'])

/** Blob is the one class of the table that the structured clone algorithm copies whole. */
const CLONED = 'Blob'

/** Language classes that are copied completely, by the tag of Object.prototype.toString. */
const WHOLE = new Set([
  'Date',
  'RegExp',
  'Error',
  'Boolean',
  'Number',
  'String',
  'BigInt',
  'ArrayBuffer',
  'SharedArrayBuffer',
])

interface Walk {
  readonly how: CopyMethod
  left: number
}

interface Loss {
  path: string
  value: object
}

/** @throws {WarmswapError} ERR_INVALID_ARGUMENT where a copy of `value` would lose something that it holds. */
export function refuseLoss(name: string, value: unknown, how: CopyMethod): void {
  if (typeof value !== 'object' || value === null) return
  const loss = lossIn(value, { how, left: MOST_OBJECTS }, 0)
  if (loss === undefined) return
  const place = `${name}${loss.path}`
  const instead = INSTEAD[tagOf(loss.value)] ?? 'an object literal with the data that it holds'
  const fate = UNCLONABLE.has(tagOf(loss.value))
    ? 'cannot be cloned'
    : 'loses its contents when it is copied to another thread or process'
  throw new WarmswapError(
    'ERR_INVALID_ARGUMENT',
    `${place} is an object of the class ${className(loss.value)}, which ${fate}. Send ${instead}.`,
  )
}

/** The error for a value that cannot be copied at all. */
export function uncopyable(name: string, cause: unknown): WarmswapError {
  // V8's message contains the whole source text of a function.
  const [why = ''] = messageOf(cause).split('\n')
  return new WarmswapError(
    'ERR_INVALID_ARGUMENT',
    `${name} cannot be copied to another thread or process: ${why.slice(0, 200)}. Expected data that structured clone copies: no functions, symbols, promises or streams.`,
    { cause },
  )
}

function lossIn(value: object, walk: Walk, depth: number): Loss | undefined {
  walk.left -= 1
  if (walk.left < 0 || depth > DEEPEST) return undefined
  if (Array.isArray(value)) return lossInList(value, walk, depth)
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === Object.prototype || prototype === null) return lossInProperties(value, walk, depth)
  return lossInInstance(value, prototype, walk, depth)
}

function lossInInstance(value: object, prototype: object, walk: Walk, depth: number): Loss | undefined {
  const tag = tagOf(value)
  if (WHOLE.has(tag) || ArrayBuffer.isView(value)) return undefined
  if (value instanceof Map) return lossInList([...value.keys(), ...value.values()], walk, depth)
  if (value instanceof Set) return lossInList([...value], walk, depth)
  if (tag in INSTEAD && !(tag === CLONED && walk.how === 'clone')) return { path: '', value }
  if (Object.keys(value).length > 0) return lossInProperties(value, walk, depth)
  return hasMembers(prototype) && arrivesEmpty(value, walk.how) ? { path: '', value } : undefined
}

function lossInList(values: readonly unknown[], walk: Walk, depth: number): Loss | undefined {
  for (let index = 0; index < values.length && walk.left > 0; index += 1) {
    const value = values[index]
    if (typeof value !== 'object' || value === null) continue
    const loss = lossIn(value, walk, depth + 1)
    if (loss) return { ...loss, path: `[${index}]${loss.path}` }
  }
  return undefined
}

function lossInProperties(holder: object, walk: Walk, depth: number): Loss | undefined {
  for (const key of Object.keys(holder)) {
    const value = (holder as Record<string, unknown>)[key]
    if (typeof value !== 'object' || value === null) continue
    const loss = lossIn(value, walk, depth + 1)
    if (loss) return { ...loss, path: `.${key}${loss.path}` }
    if (walk.left < 0) return undefined
  }
  return undefined
}

/**
 * Whether a class has members other than its constructor. Without members no code reads private state, so none can be
 * lost.
 */
function hasMembers(prototype: object): boolean {
  for (
    let each: object | null = prototype;
    each !== null && !isPlainPrototype(each);
    each = Object.getPrototypeOf(each) as object | null
  ) {
    if (Reflect.ownKeys(each).some((key) => key !== 'constructor')) return true
  }
  return false
}

/** Object.prototype of any realm. */
function isPlainPrototype(prototype: object): boolean {
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf')
}

/** Tries the algorithm itself, because the platform classes that it copies differ between releases of Node. */
function arrivesEmpty(value: object, how: CopyMethod): boolean {
  if (how === 'bytes') return true
  try {
    return Object.getPrototypeOf(structuredClone(value)) === Object.prototype
  } catch {
    // Not lost silently: sending it fails with a reason.
    return false
  }
}

function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1)
}

function className(value: object): string {
  const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && name !== '' ? name : tagOf(value)
}
