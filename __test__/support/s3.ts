/** S3 servers: moto (multipart, conditional writes), s3s-fs (the same and signatures, from files, fast) and s3rver (ignores conditions). */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { request } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
// @ts-expect-error: a script without types
import { ensureCrate, ensurePython } from '../../scripts/lib/setup.js'
import { reservePort } from '../../src/js/race-kit/ports.js'
import { makeTemp, removeTemp } from './temp.js'

export interface S3Location {
  scheme: 's3'
  bucket: string
  prefix: string
  endpoint: string
  region: string
  accessKeyId: string
  secretAccessKey: string
}

export interface S3Server {
  readonly endpoint: string
  /** A store location in a bucket of its own. */
  store(prefix?: string): S3Location
  stop(): Promise<void>
}

export const ACCESS_KEY_ID = 'AKIAWARMSWAPTEST'
/** Unlikely enough that any occurrence of it is a leak. */
export const SECRET_ACCESS_KEY = 'warmswap/secret+must+never+be+told'

const BUCKET = 'warmswap-test'

function location(endpoint: string): S3Server['store'] {
  return (prefix = '') => ({
    scheme: 's3',
    bucket: BUCKET,
    prefix,
    endpoint,
    region: 'us-east-1',
    accessKeyId: ACCESS_KEY_ID,
    secretAccessKey: SECRET_ACCESS_KEY,
  })
}

/** Resolves once the server responds to HTTP. */
async function answers(endpoint: string, process: ChildProcess): Promise<void> {
  while (process.exitCode === null) {
    const reached = await new Promise<boolean>((resolve) => {
      const probe = request(endpoint, { method: 'GET' }, (response) => {
        response.resume()
        resolve(true)
      })
      probe.on('error', () => resolve(false))
      probe.end()
    })
    if (reached) return
    await sleep(50)
  }
  throw new Error(`the S3 server ended with code ${process.exitCode}`)
}

async function createBucket(endpoint: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const put = request(
      `${endpoint}/${BUCKET}`,
      {
        method: 'PUT',
        headers: {
          authorization: `AWS4-HMAC-SHA256 Credential=${ACCESS_KEY_ID}/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0`,
        },
      },
      (response) => {
        response.resume()
        response.on('end', () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`PUT bucket: ${response.statusCode}`)),
        )
      },
    )
    put.on('error', reject)
    put.end()
  })
}

/** The folder of moto's programs. Undefined if Python or PyPI is missing. */
export function motoPrograms(): string | undefined {
  return ensurePython('moto', ['moto[s3,server]==5.2.*']) as string | undefined
}

export async function startMoto(): Promise<S3Server> {
  const programs = motoPrograms()
  if (programs === undefined) throw new Error('moto could not be installed: python3-venv or PyPI is missing')
  const port = await reservePort(Math.random)
  const child = spawn(
    join(programs, 'python'),
    [join(programs, 'moto_server'), '-H', '127.0.0.1', '-p', String(port.number)],
    { stdio: 'ignore' },
  )
  const endpoint = `http://127.0.0.1:${port.number}`
  await answers(endpoint, child)
  await createBucket(endpoint)
  const stop = async (): Promise<void> => {
    if (child.kill('SIGKILL')) await once(child, 'exit')
    await port.release()
  }
  return { endpoint, store: location(endpoint), stop }
}

/** The program of s3s-fs. Undefined if cargo or the crates are missing. */
export function s3sProgram(): string | undefined {
  return ensureCrate('s3s-fs', '0.14.1', 'binary') as string | undefined
}

/**
 * Verifies signatures, supports both kinds of conditions, and is fast: the main server. With a domain, the bucket is in
 * the host.
 */
export async function startS3s(domain?: { name: string; port: number }): Promise<S3Server> {
  const program = s3sProgram()
  if (program === undefined) throw new Error('s3s-fs could not be installed: cargo or the crates are missing')
  const root = makeTemp('/dev/shm')
  mkdirSync(join(root, BUCKET))
  const names = domain === undefined ? [] : ['--domain', `${domain.name}:${domain.port}`]
  const child = spawn(
    program,
    [
      '--host',
      '127.0.0.1',
      '--port',
      String(domain?.port ?? 0),
      ...names,
      '--access-key',
      ACCESS_KEY_ID,
      '--secret-key',
      SECRET_ACCESS_KEY,
      root,
    ],
    {
      env: { ...process.env, RUST_LOG: 's3s_fs=info' },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  const endpoint = await new Promise<string>((resolve, reject) => {
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const [, url] = /running at (http:\/\/127\.0\.0\.1:\d+)/.exec(said) ?? []
      if (url !== undefined) resolve(url)
    })
    child.once('exit', (code) => reject(new Error(`s3s-fs ended with code ${code}: ${said}`)))
  })
  return {
    endpoint,
    store: location(endpoint),
    stop: async () => {
      child.kill('SIGKILL')
      await once(child, 'close')
      removeTemp(root)
    },
  }
}

/** A store without conditions: If-Match and If-None-Match are ignored and the object is overwritten. */
export async function startS3rver(): Promise<S3Server> {
  const S3rver = createRequire(import.meta.url)('s3rver') as new (
    options: object,
  ) => { run(): Promise<AddressInfo>; close(): Promise<void> }
  const server = new S3rver({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory: makeTemp(),
    configureBuckets: [{ name: BUCKET }],
    allowMismatchedSignatures: true,
  })
  const { port } = await server.run()
  const endpoint = `http://127.0.0.1:${port}`
  // It knows this one account only.
  const store: S3Server['store'] = (prefix) => ({
    ...location(endpoint)(prefix),
    accessKeyId: 'S3RVER',
    secretAccessKey: 'S3RVER',
  })
  return { endpoint, store, stop: () => server.close() }
}
