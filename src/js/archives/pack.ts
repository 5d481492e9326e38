/** `pack()`: a directory as a stream. */

import { native, unwrap } from '../native/native.js'
import * as check from '../native/validate.js'
import type { PackOptions } from './contract.js'
import { PRESETS } from './options.js'

/**
 * Packs a directory into an archive stream. The stream is pull-driven and uses bounded memory. If a file changes while
 * it is read, the file is read again; if it changes twice in a row, the stream ends with an error. Discard what was
 * read before an error: it is not a complete archive.
 *
 * @param directory Absolute path of the directory.
 * @param options Format, compression level, and what to exclude.
 * @returns A stream of the archive's bytes; tar.zst by default.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT for wrong arguments. The stream fails with ERR_IO, ERR_UNSTABLE or
 * ERR_NOT_FOUND.
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
    // Packing starts with the first read.
    { highWaterMark: 0 },
  )
}
