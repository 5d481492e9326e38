// The method in the report (deco-cx/deco#1182, daemon/sandboxCache.ts): the SDK and a tar child process, the
// filesystem's root as the target, the whole archive in memory, no deadline, and every error returned as a reason.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { BUCKET, CREDENTIALS } from '../server.js'

export const name = 'today'

export async function createWay({ endpoint, prefix }) {
  const client = new S3Client({ endpoint, region: 'us-east-1', credentials: { ...CREDENTIALS }, forcePathStyle: true })
  const object = { Bucket: BUCKET, Key: `${prefix}/cache.tgz` }
  const children = new Set()

  function tar(args) {
    const child = spawn('tar', args, { stdio: ['pipe', 'pipe', 'ignore'] })
    children.add(child)
    child.stdin.on('error', () => {})
    child.ended = once(child, 'close').then(([code]) => {
      children.delete(child)
      if (code !== 0) throw new Error(`tar ended with ${code}`)
    })
    child.ended.catch(() => {})
    return child
  }

  return {
    async restore({ root }) {
      try {
        const { Body } = await client.send(new GetObjectCommand(object))
        const child = tar(['-xzf', '-', '-C', root])
        await pipeline(Body, child.stdin)
        await child.ended
        return 'ok'
      } catch (error) {
        return `failed (${error.code ?? error.name ?? error.message})`
      }
    },
    async snapshot({ root, denoDir }) {
      if (!existsSync(denoDir)) return 'failed (nothing there)'
      try {
        const child = tar(['-czf', '-', '-C', root, 'deno-dir'])
        const archive = await buffer(child.stdout)
        await child.ended
        await client.send(new PutObjectCommand({ ...object, Body: archive }))
        return 'ok'
      } catch (error) {
        return `failed (${error.code ?? error.name ?? error.message})`
      }
    },
    close() {
      client.destroy()
      for (const child of children) child.kill('SIGKILL')
    },
  }
}
