/** pack and unpack: directories as streams, for people with their own transport. */

import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { guarded, messageOf } from '../native/callbacks.js'
import { WarmswapError, invalidArgument, type ErrorCode } from '../native/errors.js'
import { native, unwrap } from '../native/native.js'
import * as check from '../native/validate.js'

/** Limits of what a reader accepts. Everything is counted while it happens, never taken from a header. */
export interface Limits {
  /** All files together. @default 64 GiB */
  maxBytes?: number
  /** Entries of the archive. @default 5_000_000 */
  maxFiles?: number
  /** One file. @default 64 GiB */
  maxFileBytes?: number
  /**
   * Decoded bytes for one compressed byte, once 64 MiB are decoded: over the whole where the archive's size is known first
   * (a path, an object of a store), else over the bytes read so far. A file of zeros has up to 33 000. By default a restore
   * does not apply it to the bytes that a pointer declares; if you give it, it does. @default 1000
   */
  maxRatio?: number
  /** What decoder and buffers may take. @default 192 MiB */
  maxMemoryBytes?: number
  /** What must stay free on the disk. @default 64 MiB */
  minFreeBytes?: number
}

/** How far a call has come. */
export interface Progress {
  phase: 'credentials' | 'lookup' | 'download' | 'unpack' | 'pack' | 'upload' | 'commit'
  files: number
  bytes: number
  totalBytes?: number
}

/** How a restore ended. */
export type RestoreOutcome =
  | 'restored'
  | 'unchanged'
  | 'miss'
  | 'disabled'
  | 'timeout'
  | 'aborted'
  | 'corrupt'
  | 'refused'
  | 'incompatible'
  | 'target-not-empty'
  | 'busy'
  | 'no-space'
  | 'denied'
  | 'unavailable'
  | 'superseded'
  | 'error'

/** What a restore did. `ok` is true for 'restored' and 'unchanged'; for every other outcome the target is as it was. */
export interface RestoreResult {
  ok: boolean
  outcome: RestoreOutcome
  /** For people, if it is not ok. */
  reason?: string
  key?: string
  generation?: string
  /** Where it stopped, if it is not ok. */
  stage?: 'credentials' | 'lookup' | 'download' | 'decode' | 'write' | 'commit'
  files: number
  bytes: number
  compressedBytes: number
  /** Entries that the target had already (mode 'merge'). */
  skippedFiles: number
  retries: number
  /** How the target was changed; 'children' and 'merge' are atomic for each child or file only. */
  commit?: 'rename' | 'exchange' | 'children' | 'merge'
  /** Milliseconds of each phase, and `total`. */
  timings: Record<string, number>
  ticket?: string
}

/** Which tree it is, so that what is no cache is left out. */
export type Preset = 'deno' | 'node_modules' | 'vite' | 'none'

export interface PackOptions {
  /** Globs against the path relative to the directory; one without `/` matches a name at any depth. */
  exclude?: string[]
  /** @default 'none' */
  preset?: Preset
  /** -7 to 19 for tar.zst (@default 3), 0 to 9 for tar.gz (@default 6). */
  level?: number
  /** @default 'tar.zst' */
  format?: 'tar.zst' | 'tar.gz' | 'tar'
  signal?: AbortSignal
}

export interface UnpackOptions {
  /** 'if-empty' refuses a target that holds anything, 'replace' exchanges it as a whole, 'merge' adds what is not there. @default 'if-empty' */
  mode?: 'if-empty' | 'replace' | 'merge'
  /** Which symbolic links are made: those that stay in the tree, all relative ones, all, or none. An archive with another one is refused. @default 'contained' */
  symlinks?: 'contained' | 'relative' | 'verbatim' | 'reject'
  limits?: Limits
  /** For the whole call, disk and commit included. @default Infinity */
  deadlineMs?: number
  signal?: AbortSignal
  /** Throw instead of resolving with an outcome that is not ok. @default false */
  strict?: boolean
  /** At most ten times a second. */
  onProgress?(progress: Progress): void
}

const PRESETS = ['deno', 'node_modules', 'vite', 'none'] as const
const PROGRESS_EVERY_MS = 100
/** What {@link Unpacker.push} and `drained` answer (src/addon/archive.rs). */
const WAIT = 1
const STOP = 2

/**
 * A tar.zst stream of a directory: pull-driven, bounded memory. It ends with an error if a file changed while it was read,
 * twice in a row; what was read before that is no archive and must be thrown away.
 */
export function pack(directory: string, options?: PackOptions): ReadableStream<Uint8Array> {
  const path = check.absolutePath('directory', directory)
  const given = check.options('options', options, ['exclude', 'preset', 'level', 'format', 'signal'])
  const signal = check.signal('options.signal', given.signal)
  const packer = unwrap(
    native().startPack(path, {
      exclude: check.strings('options.exclude', given.exclude ?? []),
      preset: check.oneOf('options.preset', given.preset ?? 'none', PRESETS),
      format: check.oneOf('options.format', given.format ?? 'tar.zst', ['tar.zst', 'tar.gz', 'tar']),
      ...(given.level === undefined ? {} : { level: check.wholeNumber('options.level', given.level, -7) }),
    }),
  )
  let stop = (): void => {}
  const forget = (): void => signal?.removeEventListener('abort', stop)
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        stop = () => {
          packer.cancel()
          controller.error(signal?.reason)
        }
        if (signal?.aborted) stop()
        else signal?.addEventListener('abort', stop, { once: true })
      },
      async pull(controller) {
        try {
          const chunk = unwrap(await packer.next())
          if (signal?.aborted) return
          if (chunk) return controller.enqueue(chunk)
          forget()
          controller.close()
        } catch (error) {
          forget()
          if (!signal?.aborted) throw error
        }
      },
      cancel() {
        forget()
        packer.cancel()
      },
    },
    // Nothing is packed before somebody reads.
    { highWaterMark: 0 },
  )
}

/** Any of tar, tar.gz, tar.zst, told by their magic bytes; staged, verified, then committed at once. */
export async function unpack(
  source: string | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>,
  into: string,
  options?: UnpackOptions,
): Promise<RestoreResult> {
  const path = typeof source === 'string' ? check.absolutePath('source', source) : undefined
  if (path === undefined) checkStream(source)
  const target = restoreTarget('into', into)
  const given = check.options('options', options, [
    'mode',
    'symlinks',
    'limits',
    'deadlineMs',
    'signal',
    'strict',
    'onProgress',
  ])
  const signal = check.signal('options.signal', given.signal)
  const strict = given.strict === undefined ? false : check.boolean('options.strict', given.strict)
  if (given.onProgress !== undefined) check.callback('options.onProgress', given.onProgress)
  const nativeOptions = {
    mode: check.oneOf('options.mode', given.mode ?? 'if-empty', ['if-empty', 'replace', 'merge']),
    symlinks: check.oneOf('options.symlinks', given.symlinks ?? 'contained', [
      'contained',
      'relative',
      'verbatim',
      'reject',
    ]),
    limits: limits('options.limits', given.limits),
    deadlineMs: check.milliseconds('options.deadlineMs', given.deadlineMs ?? Infinity, { infinity: true }),
  }
  if (strict) signal?.throwIfAborted()

  const started = performance.now()
  // Before the native call: a source that cannot be read throws here.
  const chunks = path === undefined ? open(source as ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>) : undefined
  const unpacker = unwrap(native().startUnpack(path, target, nativeOptions))
  const stop = (): void => unpacker.cancel()
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  const stopShowing = showProgress(unpacker, given.onProgress)
  try {
    // Not waited for: a source that stalls would stall the call.
    if (chunks) void feed(unpacker, chunks)
    return settle(unwrap(await unpacker.result()), { strict, signal, started })
  } finally {
    chunks?.giveUp()
    stopShowing()
    signal?.removeEventListener('abort', stop)
  }
}

type Unpacker = InstanceType<ReturnType<typeof native>['Unpacker']>
type NativeResult = Exclude<Awaited<ReturnType<Unpacker['result']>>, { warmswapFailure: true }>

function settle(
  ended: NativeResult,
  call: { strict: boolean; signal: AbortSignal | undefined; started: number },
): RestoreResult {
  const outcome = ended.outcome as RestoreOutcome
  const ok = outcome === 'restored'
  if (!ok && (call.strict || ended.code === 'ERR_INVALID_ARGUMENT')) {
    if (outcome === 'aborted' && call.signal?.aborted) throw call.signal.reason
    throw new WarmswapError(ended.code as ErrorCode, `${ended.reason} [${outcome}]`)
  }
  return {
    ok,
    outcome,
    ...(ended.reason === undefined ? {} : { reason: ended.reason }),
    ...(ended.stage === undefined ? {} : { stage: ended.stage as NonNullable<RestoreResult['stage']> }),
    files: ended.files,
    bytes: ended.bytes,
    compressedBytes: ended.compressedBytes,
    skippedFiles: ended.skippedFiles,
    retries: 0,
    ...(ended.commit === undefined ? {} : { commit: ended.commit as NonNullable<RestoreResult['commit']> }),
    timings: { unpack: ended.unpackMs, commit: ended.commitMs, total: performance.now() - call.started },
  }
}

/** A source that is pulled: the next chunk, and the end of all interest, also while a chunk is waited for. */
interface Chunks {
  next(): Promise<{ done?: boolean; value?: unknown }>
  giveUp(): void
}

function checkStream(source: unknown): void {
  const isStream =
    typeof source === 'object' && source !== null && (Symbol.asyncIterator in source || 'getReader' in source)
  if (!isStream)
    throw invalidArgument('source', source, 'an absolute path, a ReadableStream or an AsyncIterable of Uint8Array')
  if ('locked' in source && source.locked === true)
    throw invalidArgument('source', source, 'a stream that nobody else reads')
}

function open(source: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>): Chunks {
  // The source may fail at its end, or have failed before: the result of the call says what matters.
  const quietly = (end: () => Promise<unknown> | undefined): void => void (async () => end())().catch(() => {})
  if ('getReader' in source) {
    const reader = source.getReader()
    return { next: () => reader.read(), giveUp: () => quietly(() => reader.cancel()) }
  }
  const iterator = source[Symbol.asyncIterator]()
  return { next: () => iterator.next(), giveUp: () => quietly(() => iterator.return?.()) }
}

/** Pulls the source as fast as the unpacker reads, until one of them ends. */
async function feed(unpacker: Unpacker, chunks: Chunks): Promise<void> {
  try {
    for (;;) {
      const { done, value } = await chunks.next()
      if (done) return unpacker.end()
      if (!(value instanceof Uint8Array)) throw invalidArgument("the source's chunk", value, 'a Uint8Array')
      let wanted = unpacker.push(value)
      if (wanted === WAIT) wanted = unwrap(await unpacker.drained())
      if (wanted === STOP) return
    }
  } catch (error) {
    unpacker.fail(messageOf(error))
  }
}

/** Asks now and then how far it is; keeps nothing alive. Returns what stops it. */
function showProgress(unpacker: Unpacker, onProgress: UnpackOptions['onProgress']): () => void {
  if (onProgress === undefined) return () => {}
  const tell = guarded('options.onProgress of unpack()', onProgress)
  const show = (): void => {
    const [files, bytes] = unpacker.progress() as [number, number]
    tell({ phase: 'unpack', files, bytes })
  }
  const timer = setInterval(show, PROGRESS_EVERY_MS)
  timer.unref()
  return () => {
    clearInterval(timer)
    show()
  }
}

/** A directory that may be replaced: not the root of everything, and nobody's home. */
export function restoreTarget(name: string, value: unknown): string {
  const path = resolve(check.absolutePath(name, value))
  const home = homeDirectory()
  if (path === '/' || (home !== undefined && (path === home || path === resolve(home, '..'))))
    throw invalidArgument(name, value, "a directory of its own, neither '/' nor a home directory")
  return path
}

/** None for a user without an entry in the password file and without HOME, as pods have them. */
function homeDirectory(): string | undefined {
  try {
    return homedir()
  } catch {
    return undefined
  }
}

/** Checked limits, as the addon takes them. */
export function limits(name: string, value: Limits | undefined): Limits {
  const given = check.options(name, value, [
    'maxBytes',
    'maxFiles',
    'maxFileBytes',
    'maxRatio',
    'maxMemoryBytes',
    'minFreeBytes',
  ])
  const checked: Limits = {}
  for (const [key, limit] of Object.entries(given)) {
    if (limit !== undefined) checked[key as keyof Limits] = check.wholeNumber(`${name}.${key}`, limit)
  }
  if (checked.maxBytes !== undefined && checked.maxFileBytes !== undefined && checked.maxFileBytes > checked.maxBytes) {
    throw invalidArgument(
      `${name}.maxFileBytes`,
      checked.maxFileBytes,
      `at most ${name}.maxBytes, which is ${checked.maxBytes}`,
    )
  }
  return checked
}
