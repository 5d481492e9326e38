/** `pack()`: a directory as a stream. */

import { native, unwrap } from '../native/native.js'
import * as check from '../native/validate.js'
import type { PackOptions } from './contract.js'
import { PRESETS } from './options.js'

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
