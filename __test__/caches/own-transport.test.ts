import { once } from 'node:events'
import { createReadStream, createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { expect } from 'vitest'
import { test } from '../support/temp.js'

function sample(root: string): string {
  const tree = join(root, 'tree')
  mkdirSync(join(tree, 'deep'), { recursive: true })
  writeFileSync(join(tree, 'deep/file.js'), 'export default 1\n')
  writeFileSync(join(tree, 'large.bin'), Buffer.from(Array.from({ length: 7 << 20 }, (_, at) => (at * at) >> 7)))
  return tree
}

test('fetch: a folder to an HTTP server and back', async ({ memory }) => {
  const { save, restore } = await import('../../examples/own-transport/http.js' as string)
  const stored = join(memory, 'stored')
  const server = createServer((request, response) => {
    const work =
      request.method === 'PUT'
        ? pipeline(request, createWriteStream(stored)).then(() => response.end())
        : pipeline(createReadStream(stored), response)
    work.catch(() => response.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/cache`
    await save(url, sample(memory))
    expect(await restore(url, join(memory, 'out'))).toMatchObject({ ok: true, outcome: 'restored', files: 2 })
    expect(readFileSync(join(memory, 'out/deep/file.js'), 'utf8')).toBe('export default 1\n')
  } finally {
    server.close()
  }
})

test('AWS SDK: a folder to an S3 server and back', async ({ memory }) => {
  const { save, restore } = await import('../../examples/own-transport/s3.js' as string)
  const { default: S3rver } = await import('s3rver' as string)
  mkdirSync(join(memory, 's3'))
  const server = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: join(memory, 's3') })
  const { port } = (await server.run()) as AddressInfo
  const client = new S3Client({
    region: 'us-east-1',
    endpoint: `http://127.0.0.1:${port}`,
    forcePathStyle: true,
    credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
    requestChecksumCalculation: 'WHEN_REQUIRED',
  })
  try {
    await client.send(new CreateBucketCommand({ Bucket: 'bucket' }))
    await save(client, { bucket: 'bucket', key: 'tree.tar.zst', from: sample(memory) })
    expect(await restore(client, { bucket: 'bucket', key: 'tree.tar.zst', into: join(memory, 'out') })).toMatchObject({
      ok: true,
      files: 2,
    })
    expect(readFileSync(join(memory, 'out/large.bin')).equals(readFileSync(join(memory, 'tree/large.bin')))).toBe(true)
  } finally {
    client.destroy()
    await server.close()
  }
})
