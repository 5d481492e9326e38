import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache } from 'warmswap'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type S3Server, SECRET_ACCESS_KEY, motoPrograms, startMoto, startS3rver } from '../support/s3.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'

const hasMoto = motoPrograms() !== undefined
if (!hasMoto) console.warn('skipped: the tests against moto, because it could not be installed (python3-venv, PyPI)')

describe.skipIf(!hasMoto)('moto: signatures, multipart and conditional writes', () => {
  let server: S3Server
  beforeAll(async () => {
    server = await startMoto()
  })
  afterAll(() => server?.stop())

  test('I16, I21: snapshot in parts, read back, restore in ranges, unchanged', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    writeFileSync(join(tree, 'noise'), noise(20 << 20))
    const into = join(memory, 'into')
    const cache = openCache(server.store('sites'))
    expect(await cache.restore({ key: 'site', into })).toMatchObject({ outcome: 'miss' })
    const uploaded = await cache.snapshot({ key: 'site', from: tree })
    expect(uploaded).toMatchObject({ outcome: 'uploaded', guard: 'etag' })
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'unchanged', uploadedBytes: 0 })
    expect(await cache.restore({ key: 'site', into })).toMatchObject({ outcome: 'restored', generation: uploaded.generation! })
    expect(digest(into)).toEqual(digest(tree))
    expect((await cache.inspect('site'))?.compressedBytes).toBe(uploaded.compressedBytes)
    expect(await cache.remove('site')).toEqual({ outcome: 'removed' })
    expect(await cache.inspect('site')).toBeNull()
  })

  test('one object, conditionally', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(server.store('objects'))
    expect(await cache.snapshot({ key: 'site/cache.tgz', from: tree })).toMatchObject({ outcome: 'uploaded' })
    const { ticket } = await cache.restore({ key: 'site/cache.tgz', into: join(memory, 'into') })
    expect(digest(join(memory, 'into'))).toEqual(digest(tree))
    writeFileSync(join(tree, 'more'), 'more')
    expect(await cache.snapshot({ key: 'site/cache.tgz', from: tree })).toMatchObject({ outcome: 'uploaded' })
    writeFileSync(join(tree, 'most'), 'most')
    expect(await cache.snapshot({ key: 'site/cache.tgz', from: tree, ticket: ticket! })).toMatchObject({ outcome: 'superseded' })
  })

  test('probe finds the conditions; a bucket that is not there is unavailable, and no secret is told', async () => {
    expect(await openCache(server.store()).probe()).toMatchObject({ conditionalPut: true, ranged: true, writable: true })
    const result = await openCache({ ...server.store(), bucket: 'absent' }).restore({ key: 'site', into: '/tmp/warmswap-test-absent/x' })
    expect(result.outcome).toBe('unavailable')
    expect(JSON.stringify(result)).not.toContain(SECRET_ACCESS_KEY)
  })
})

describe('s3rver: a store that ignores conditions', () => {
  let server: S3Server
  beforeAll(async () => {
    server = await startS3rver()
  })
  afterAll(() => server?.stop())

  test("I22: it is found out once and told as guard 'none'", async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(server.store('sites'))
    expect(await cache.probe()).toMatchObject({ conditionalPut: false, writable: true })
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded', guard: 'none' })
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(digest(join(memory, 'into'))).toEqual(digest(tree))
    rmSync(join(memory, 'into'), { recursive: true })
    expect(readdirSync(memory)).toContain('tree')
  })
})
