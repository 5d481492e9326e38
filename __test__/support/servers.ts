/** What the tests of stores need of a server, whatever the service. */

import type { AzureLocation, GcsLocation } from 'warmswap'
import type { S3Location } from './s3.js'

export type BucketLocation = S3Location | GcsLocation | AzureLocation

/** The objects below a prefix, read and written without warmswap. */
export interface RawObjects {
  list(): Promise<string[]>
  read(path: string): Promise<Buffer>
  write(path: string, bytes: string | Buffer): Promise<void>
}

export interface BucketServer {
  readonly endpoint: string
  /** A location in a bucket of its own. */
  store(prefix?: string): BucketLocation
  stop(): Promise<void>
}

/** The same location behind another address, such as that of a proxy. */
export function at<Location extends BucketLocation>(location: Location, origin: string): Location {
  const { pathname } = new URL(location.endpoint as string)
  return { ...location, endpoint: `${origin}${pathname === '/' ? '' : pathname}` }
}

/** Sends a request, and fails unless it succeeds. */
export async function send(url: string, method: string, init: RequestInit = {}): Promise<Buffer> {
  const response = await fetch(url, { ...init, method })
  const bytes = Buffer.from(await response.arrayBuffer())
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${bytes}`)
  return bytes
}
