/** The types of what unpack() takes and returns. tsc fails where one is missing, wider or narrower; nothing of this runs. */

import type { Cache, RestoreResult, UnpackOptions } from '../../index.js'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
type Holds<T extends true> = T

type RestoreOptions = Parameters<Cache['restore']>[0]

export type Types = [
  Holds<Equal<UnpackOptions['duplicates'], 'replace' | 'reject' | undefined>>,
  Holds<Equal<UnpackOptions['contentLength'], number | undefined>>,
  Holds<Equal<RestoreOptions['duplicates'], 'replace' | 'reject' | undefined>>,
  Holds<Equal<RestoreResult['skipped'], { path: string; why: string }[] | undefined>>,
]

export const accepted: UnpackOptions[] = [
  {},
  { duplicates: 'replace' },
  { duplicates: 'reject', contentLength: 1024 },
  { contentLength: Number(new Headers().get('content-length')) },
]

export const refused: unknown[] = [
  // @ts-expect-error There is no such way.
  { duplicates: 'first' } satisfies UnpackOptions,
  // @ts-expect-error A header is text: Number() it.
  { contentLength: new Headers().get('content-length') } satisfies UnpackOptions,
  // @ts-expect-error The size of an object is the store's to say.
  { key: 'site', into: '/site', contentLength: 1 } satisfies RestoreOptions,
]
