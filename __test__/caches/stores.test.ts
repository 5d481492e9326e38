// @module-tag system
/**
 * Real servers: s3s-fs (signatures, multipart, both kinds of conditions), moto (another's reading of the same), s3rver (ignores
 * conditions), Azurite (signatures, conditions) and fake-gcs-server (conditions of an upload in one request).
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { openCache, prewarm } from 'warmswap'
import { reservePort } from '../../src/js/race-kit/ports.js'
import { ACCOUNT_KEY, startAzurite } from '../support/azurite.js'
import { heldLine } from '../support/endpoints.js'
import { gcsProgram, startGcs } from '../support/gcs.js'
import { startWithHosts } from '../support/mounts.js'
import { repository } from '../support/paths.js'
import {
  motoPrograms,
  type S3Location,
  type S3Server,
  SECRET_ACCESS_KEY,
  s3sProgram,
  startMoto,
  startS3rver,
  startS3s,
} from '../support/s3.js'
import { serialize } from '../support/serializing-proxy.js'
import { at, type BucketLocation, type BucketServer } from '../support/servers.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'
import { isRoot } from '../support/users.js'

const CI = process.env.CI !== undefined
const notInstalled = (name: string, isThere: boolean, needs: string): string =>
  isThere || CI ? name : `${name} (NOT RUN: could not be installed from ${needs})`

interface Facts {
  name: string
  isThere: boolean
  needs: string
  start(): Promise<BucketServer>
  /** Which writes in several parts are accepted although their condition does not hold: to create (1), to replace (2). */
  ignoredInParts: (1 | 2)[]
  /** What the server reports for a bucket that does not exist. Nothing if it does not distinguish a missing object. */
  absentBucket?: 'NoSuchBucket' | 'ContainerNotFound'
  /** Whether one of several simultaneous conditional writes succeeds, and no more. */
  isExclusive: boolean
  /** Whether the request makes the object of this key visible. */
  shows(request: { method?: string | undefined; url?: string | undefined }, key: string): boolean
}

const showsInS3: Facts['shows'] = ({ method, url = '' }, key) =>
  (method === 'PUT' && new RegExp(`${key}(/current.json)?$`).test(url)) ||
  (method === 'POST' && url.includes(`${key}?uploadId=`))

const servers: Facts[] = [
  {
    name: 's3s-fs',
    isThere: s3sProgram() !== undefined,
    needs: 'the crates',
    start: startS3s,
    ignoredInParts: [],
    isExclusive: false,
    shows: showsInS3,
  },
  // Its CompleteMultipartUpload keeps If-None-Match and ignores If-Match.
  {
    name: 'moto, its writes one after the other',
    isThere: motoPrograms() !== undefined,
    needs: 'PyPI',
    start: async () => await serialize(await startMoto()),
    ignoredInParts: [2],
    absentBucket: 'NoSuchBucket',
    isExclusive: true,
    shows: showsInS3,
  },
  {
    name: 'azurite',
    isThere: true,
    needs: 'npm',
    start: startAzurite,
    ignoredInParts: [],
    absentBucket: 'ContainerNotFound',
    isExclusive: true,
    shows: ({ method, url = '' }, key) =>
      method === 'PUT' && new RegExp(`${key}(/current.json)?(\\?comp=blocklist)?$`).test(url),
  },
  {
    name: 'fake-gcs-server',
    isThere: gcsProgram() !== undefined,
    needs: 'PyPI',
    start: startGcs,
    ignoredInParts: [1, 2],
    isExclusive: true,
    shows: ({ method, url = '' }, key) =>
      method === 'POST' && new RegExp(`[?&]name=[^&]*${encodeURIComponent(key)}(%2Fcurrent.json)?(&|$)`).test(url),
  },
]

/** The same location with a bucket that does not exist. */
function withoutBucket(location: BucketLocation): BucketLocation {
  return location.scheme === 'az' ? { ...location, container: 'absent' } : { ...location, bucket: 'absent' }
}

/** A tree whose archive is sent in parts and restored in ranges. */
function largeTree(root: string): string {
  const tree = makeTree(root)
  writeFileSync(join(tree, 'noise'), noise(20 << 20))
  return tree
}

for (const { name, isThere, needs, start, ignoredInParts, absentBucket, isExclusive, shows } of servers) {
  describe.skipIf(!isThere && !CI)(notInstalled(name, isThere, needs), () => {
    let server: BucketServer
    beforeAll(async () => {
      server = await start()
    })
    afterAll(() => server?.stop())

    test('archives/round-trip, caches/readers-see-whole-snapshots: snapshot in parts, read back, restore in ranges, unchanged, removed', async ({
      memory,
    }) => {
      const tree = largeTree(join(memory, 'tree'))
      const into = join(memory, 'into')
      const cache = openCache(server.store('sites'))
      expect(await cache.restore({ key: 'site', into })).toMatchObject({ outcome: 'miss' })
      const uploaded = await cache.snapshot({ key: 'site', from: tree })
      expect(uploaded).toMatchObject({ outcome: 'uploaded', guard: 'etag' })
      expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({
        outcome: 'unchanged',
        uploadedBytes: 0,
      })
      expect(await cache.restore({ key: 'site', into })).toMatchObject({
        outcome: 'restored',
        generation: uploaded.generation!,
      })
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
      expect(await cache.snapshot({ key: 'site/cache.tgz', from: tree, ticket: ticket! })).toMatchObject({
        outcome: 'superseded',
      })
    })

    // The servers look and then write, so of two writes at once both can win there; S3 itself refuses one. What is
    // ours is the condition: of a write that comes after another one, however it began.
    test.for([
      ['a pointer', 'race', 1000],
      ['one object in one part', 'race.tar', 1000],
      ['one object in several parts', 'parts/race.tar', 9 << 20],
    ] as const)(
      'caches/no-lost-update: %s: what another writer wrote in between is not overwritten',
      async ([, key, bytes], { memory, skip }) => {
        skip(bytes > 8 << 20 && ignoredInParts.length === 2, 'the server ignores conditions of uploads in parts')
        const tree = (name: string, seed: number): string => {
          const path = makeTree(join(memory, name))
          writeFileSync(join(path, 'noise'), noise(bytes, seed))
          return path
        }
        const line = await heldLine(server.endpoint)
        const [direct, held] = [
          openCache(server.store('meanwhile')),
          openCache(at(server.store('meanwhile'), line.url)),
        ]
        // The first pair: nothing may be there (If-None-Match). The second: another version is there (If-Match).
        for (const generation of [1, 2] as const) {
          const [mine, theirs] = [tree(`mine-${generation}`, generation), tree(`theirs-${generation}`, generation + 10)]
          const arrived = line.hold((request) => shows(request, key))
          const running = held.snapshot({ key, from: theirs })
          const release = await arrived
          const isIgnored = bytes > 8 << 20 && ignoredInParts.includes(generation)
          const guard = isIgnored ? 'none' : 'etag'
          expect(await direct.snapshot({ key, from: mine })).toMatchObject({ outcome: 'uploaded', guard })
          release()
          expect(await running, `${generation}`).toMatchObject({
            outcome: isIgnored ? 'uploaded' : 'superseded',
            guard,
          })
          const into = join(memory, `into-${generation}`)
          expect(await direct.restore({ key, into })).toMatchObject({ outcome: 'restored' })
          expect(digest(into)).toEqual(digest(isIgnored ? theirs : mine))
        }
        await line.stop()
      },
    )

    test('fleet/exclusive-writes: probe detects what the store supports, and races that have more than one winner', async () => {
      expect(await openCache(server.store('probe')).probe()).toEqual({
        conditionalPut: true,
        exclusiveWrites: isExclusive,
        conditionalMultipart: ignoredInParts.length === 0,
        ranged: true,
        writable: true,
      })
    })

    test('prune keeps the requested number of generations', async ({ memory }) => {
      const tree = makeTree(join(memory, 'tree'))
      const cache = openCache(server.store('prune'))
      for (let generation = 0; generation < 4; generation += 1) {
        writeFileSync(join(tree, 'generation'), `${generation}`)
        expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded' })
      }
      const pruned = await cache.prune({ key: 'site', keep: 2, olderThanMs: 0 })
      expect(pruned).toMatchObject({ outcome: 'pruned' })
      expect(pruned.removed).toHaveLength(2)
      expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
      expect(digest(join(memory, 'into'))).toEqual(digest(tree))
    })

    test(`a bucket that is not there is ${absentBucket ?? 'a miss'}, and no secret is reported`, async ({ memory }) => {
      const cache = openCache(withoutBucket(server.store()))
      const result = await cache.restore({ key: 'site', into: join(memory, 'into') })
      expect(result.outcome).toBe(absentBucket === undefined ? 'miss' : 'unavailable')
      for (const secret of [SECRET_ACCESS_KEY, ACCOUNT_KEY]) expect(JSON.stringify(result)).not.toContain(secret)
      // s3s-fs makes the bucket for a write. fake-gcs-server has one answer for everything that is missing.
      if (absentBucket === undefined) return
      await expect(cache.probe()).rejects.toThrow(absentBucket)
      for (const key of ['site', 'one.tar.zst']) {
        const into = join(memory, 'into')
        expect(await cache.restore({ key, into })).toMatchObject({ reason: expect.stringContaining(absentBucket) })
        await expect(cache.inspect(key), key).rejects.toThrow(absentBucket)
        for (const call of [cache.prune({ key }), cache.remove(key)])
          expect(await call, key).toMatchObject({
            outcome: 'unavailable',
            reason: expect.stringContaining(absentBucket),
          })
      }
    })

    test('fleet/one-build, fleet/result-is-verified: of six callers one builds, and again if the blob no longer exists', async ({
      memory,
    }) => {
      const proxy = isExclusive ? undefined : await serialize({ ...server, stop: async () => {} })
      const cache = openCache((proxy ?? server).store('fleet'))
      let builds = 0
      const ensure = (into: string): Promise<string> =>
        cache
          .ensure('site', {
            fingerprint: 'lock file 1',
            into: join(memory, into),
            build({ dir }) {
              builds += 1
              writeFileSync(join(dir, 'file'), `build ${builds}`)
            },
          })
          .then(({ role }) => role)
      const roles = await Promise.all(Array.from({ length: 6 }, (_, index) => ensure(`into-${index}`)))
      expect(roles.sort()).toEqual(['built', ...Array.from({ length: 5 }, () => 'restored')])
      for (let index = 0; index < 6; index += 1)
        expect(readFileSync(join(memory, `into-${index}/file`), 'utf8')).toBe('build 1')
      expect(await cache.remove('site')).toEqual({ outcome: 'removed' })
      expect(await ensure('again')).toBe('built')
      expect(builds).toBe(2)
      await proxy?.stop()
    })

    test('fleet/one-run: of six callers of prewarm() one runs the job', async ({ memory }) => {
      const proxy = isExclusive ? undefined : await serialize({ ...server, stop: async () => {} })
      const made = join(memory, 'made')
      let runs = 0
      const job = {
        isReady: () => existsSync(made) && readFileSync(made, 'utf8'),
        run() {
          runs += 1
          writeFileSync(made, 'made')
          return 'made'
        },
      }
      const store = (proxy ?? server).store('jobs/job')
      const results = await Promise.all(Array.from({ length: 6 }, () => prewarm(store, job)))
      expect(results.map(({ role }) => role).sort()).toEqual(['ran', ...Array.from({ length: 5 }, () => 'reused')])
      expect(runs).toBe(1)
      await proxy?.stop()
    })

    if (name === 's3s-fs') {
      test('SigV4: a wrong secret, and a wrong key, are denied to both verbs', async ({ memory }) => {
        const tree = makeTree(join(memory, 'tree'))
        for (const wrong of [{ secretAccessKey: 'not the secret' }, { accessKeyId: 'AKIANOBODY' }]) {
          const cache = openCache({ ...(server.store('denied') as S3Location), ...wrong })
          expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({
            ok: false,
            outcome: 'denied',
            stage: 'lookup',
          })
          expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({
            ok: false,
            outcome: 'denied',
            uploadedBytes: 0,
          })
          await expect(cache.probe()).rejects.toMatchObject({ outcome: 'denied' })
        }
      })

      test('SigV4: keys and prefixes with every letter that is allowed', async ({ memory }) => {
        const tree = makeTree(join(memory, 'tree'))
        const cache = openCache(server.store('Größe & mehr/a+b=c'))
        for (const key of ['a/b-c_d.e/F', 'site-1.2.3/linux_x64.tgz']) {
          expect(await cache.snapshot({ key, from: tree }), key).toMatchObject({ outcome: 'uploaded' })
          expect(await cache.restore({ key, into: join(memory, key) }), key).toMatchObject({ outcome: 'restored' })
          expect(await cache.remove(key)).toEqual({ outcome: 'removed' })
        }
      })
    }
  })
}

const canName = s3sProgram() !== undefined && isRoot
describe.skipIf(!canName && !CI)(
  notInstalled('virtual-host style', canName, 's3s-fs and root, for a hosts file of its own'),
  () => {
    test('SigV4: the bucket is in the host, and in nothing else', async ({ memory }) => {
      const port = await reservePort(Math.random)
      // A domain that only the bucket's host is known of: who asks the host itself, with the bucket in the path, reaches nobody.
      const server = await startS3s({ name: 's3.test', port: port.number })
      const location = { ...server.store('sites'), endpoint: `http://s3.test:${port.number}`, pathStyle: false }
      const hosts = join(memory, 'hosts')
      writeFileSync(hosts, `127.0.0.1 ${location.bucket}.s3.test\n`)
      const call = async (program: string, ...args: string[]): Promise<string> => {
        const child = startWithHosts(hosts, join(repository, '__test__/programs', program), ...args)
        await child.ended
        return child.lines.join('\n') + child.stderr()
      }
      const tree = makeTree(join(memory, 'tree'))
      expect(await call('caches-store.js', 'snapshot', JSON.stringify(location), tree)).toBe('uploaded')
      expect(await call('caches-calls.js', 'restore', JSON.stringify(location), join(memory, 'into'))).toBe('restored')
      expect(digest(join(memory, 'into'))).toEqual(digest(tree))
      // The same object by its path: the host named this bucket and no folder in it.
      expect(await openCache(server.store('sites')).inspect('site')).not.toBeNull()
      await server.stop()
      await port.release()
    })
  },
)

describe('s3rver: a store that ignores conditions', () => {
  let server: S3Server
  beforeAll(async () => {
    server = await startS3rver()
  })
  afterAll(() => server?.stop())

  test("caches/no-lost-update: it is detected once and reported as guard 'none'", async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const cache = openCache(server.store('sites'))
    expect(await cache.probe()).toMatchObject({ conditionalPut: false, conditionalMultipart: false, writable: true })
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded', guard: 'none' })
    expect(await cache.restore({ key: 'site', into: join(memory, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(digest(join(memory, 'into'))).toEqual(digest(tree))
    writeFileSync(join(tree, 'more'), 'more')
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded', guard: 'none' })
  })
})
