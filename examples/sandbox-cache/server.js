// A real S3 server: s3s-fs, which checks signatures and keeps objects as files, behind a line that can fail.
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
    /** Turns one bit in the middle of the largest object below a prefix, as a bad disk does: nothing else about it changes. */
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

/** The port, once the server has told it. */
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
