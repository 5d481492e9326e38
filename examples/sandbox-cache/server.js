// A real S3 server, behind a connection that can fail. s3s-fs checks signatures and stores objects as files.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureCrate } from '../../scripts/lib/setup.js'
import { openLine } from './line.js'

export const BUCKET = 'sandboxes'
export const CREDENTIALS = { accessKeyId: 'sandbox', secretAccessKey: 'sandbox-secret' }

export async function startServer() {
  const program = ensureCrate('s3s-fs', '0.14.1', 'binary')
  if (program === undefined) throw new Error('s3s-fs could not be installed: cargo or the crates are not reachable')
  const root = await mkdtemp(join(tmpdir(), 'sandbox-cache-'))
  await mkdir(join(root, BUCKET))
  const child = spawn(
    program,
    [
      '--host',
      '127.0.0.1',
      '--port',
      '0',
      '--access-key',
      CREDENTIALS.accessKeyId,
      '--secret-key',
      CREDENTIALS.secretAccessKey,
      root,
    ],
    {
      env: { ...process.env, RUST_LOG: 's3s_fs=info' },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const line = await openLine(await listening(child))
  return {
    line,
    endpoint: line.url,
    /** Flips one bit in the middle of the largest object below a prefix, like a bad disk. */
    async damage(prefix) {
      const folder = join(root, BUCKET, prefix)
      const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
      const handles = await Promise.all(files.map((entry) => open(join(entry.parentPath, entry.name), 'r+')))
      const sizes = await Promise.all(handles.map(async (handle) => (await handle.stat()).size))
      const largest = handles[sizes.indexOf(Math.max(...sizes))]
      const at = Math.max(...sizes) >> 1
      const { buffer } = await largest.read(Buffer.alloc(1), 0, 1, at)
      await largest.write(Buffer.from([buffer[0] ^ 1]), 0, 1, at)
      await Promise.all(handles.map((handle) => handle.close()))
    },
    async stop() {
      await line.close()
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      await rm(root, { recursive: true })
    },
  }
}

/** Resolves with the port once the server has printed it. */
async function listening(child) {
  let said = ''
  for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    said += text
    const [, port] = /running at http:\/\/127\.0\.0\.1:(\d+)/.exec(said) ?? []
    if (port === undefined) continue
    child.stdout.resume()
    return Number(port)
  }
  throw new Error(`s3s-fs did not start: ${said}`)
}
