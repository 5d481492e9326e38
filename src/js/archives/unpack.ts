/** `unpack()`: an archive, staged, verified and committed. */

import { guarded } from '../native/callbacks.js'
import { type ErrorCode, WarmswapError } from '../native/errors.js'
import { native, unwrap } from '../native/native.js'
import * as check from '../native/validate.js'
import type { RestoreOutcome, RestoreResult, UnpackOptions } from './contract.js'
import { checkLimits, checkTarget, DUPLICATES, MODES, SYMLINKS } from './options.js'
import { checkStream, feed, openChunks, type Unpacker } from './source.js'

const PROGRESS_EVERY_MS = 100

/**
 * Unpacks a tar, tar.gz or tar.zst archive into a directory. The format is detected by magic bytes. The tree is staged
 * next to the target, verified, and then committed atomically.
 *
 * @param source Absolute path of an archive, or a stream or iterable of its bytes.
 * @param into Absolute path of the target. It is created if it does not exist.
 * @param options Mode, limits, time limit and signal.
 * @returns The outcome. `ok` is true for 'restored' and 'unchanged'.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments; with `strict`, also for an outcome that is not ok.
 */
export async function unpack(
  source: string | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>,
  into: string,
  options?: UnpackOptions,
): Promise<RestoreResult> {
  const path = typeof source === 'string' ? check.absolutePath('source', source) : undefined
  if (path === undefined) checkStream(source)
  const target = checkTarget('into', into)
  const given = check.options('options', options, [
    'mode',
    'symlinks',
    'duplicates',
    'contentLength',
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
    mode: check.oneOf('options.mode', given.mode ?? 'if-empty', MODES),
    symlinks: check.oneOf('options.symlinks', given.symlinks ?? 'contained', SYMLINKS),
    duplicates: check.oneOf('options.duplicates', given.duplicates ?? 'replace', DUPLICATES),
    ...(given.contentLength === undefined
      ? {}
      : { declaredBytes: check.wholeNumber('options.contentLength', given.contentLength) }),
    limits: checkLimits('options.limits', given.limits),
    deadlineMs: check.milliseconds('options.deadlineMs', given.deadlineMs ?? Infinity, { infinity: true }),
  }
  if (strict) signal?.throwIfAborted()

  const started = performance.now()
  // Before the native call, so that a source that cannot be read throws here.
  const chunks =
    path === undefined ? openChunks(source as ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>) : undefined
  const unpacker = unwrap(native().startUnpack(path, target, nativeOptions))
  const stop = (): void => unpacker.cancel()
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  const stopShowing = showProgress(unpacker, given.onProgress)
  try {
    // Not awaited: a source that stalls would stall the call.
    if (chunks) void feed(unpacker, chunks)
    return resultOf(unwrap(await unpacker.result()), { strict, signal, started })
  } finally {
    chunks?.giveUp()
    stopShowing()
    signal?.removeEventListener('abort', stop)
  }
}

type NativeResult = Exclude<Awaited<ReturnType<Unpacker['result']>>, { warmswapFailure: true }>

function resultOf(
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
    ...leftOut(ended.skipped),
    retries: 0,
    ...(ended.commit === undefined ? {} : { commit: ended.commit as NonNullable<RestoreResult['commit']> }),
    timings: { unpack: ended.unpackMs, commit: ended.commitMs, total: performance.now() - call.started },
  }
}

/** Converts the counts of entries that a restore does not create. Undefined if there are none. */
export function leftOut(skipped: string[][]): Pick<RestoreResult, 'skipped'> {
  return skipped.length === 0 ? {} : { skipped: skipped.map(([path = '', why = '']) => ({ path, why })) }
}

/** Polls the progress at intervals, without keeping the process alive. Returns a function that stops the polling. */
function showProgress(unpacker: Unpacker, onProgress: UnpackOptions['onProgress']): () => void {
  if (onProgress === undefined) return () => {}
  const notify = guarded('options.onProgress of unpack()', onProgress)
  const show = (): void => {
    const [files, bytes] = unpacker.progress() as [number, number]
    notify({ phase: 'unpack', files, bytes })
  }
  const timer = setInterval(show, PROGRESS_EVERY_MS)
  timer.unref()
  return () => {
    clearInterval(timer)
    show()
  }
}
