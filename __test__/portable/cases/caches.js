import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { assert, fails, readTree, warmswap, writeTree } from '../support.js'

const { cacheLocationFromEnv, openCache, unpack } = warmswap

const tree = { 'a.txt': 'text', 'empty/': '', 'lib/b.txt': 'b', 'lib/deep/er/c.txt': 'c' }
const key = 'site/main'

/** A cache with a snapshot of `tree` under `key`. */
async function saved(t, options) {
  const cache = t.cache('cache', options)
  const from = writeTree(t.path('from'), tree)
  const result = await cache.snapshot({ key, from })
  assert.equal(result.outcome, 'uploaded', result.reason)
  return { cache, from, result }
}

/** The files of a folder, with their sizes. */
function filesBelow(folder) {
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
}

async function outcomeOf(call) {
  const { outcome } = await call
  return outcome
}

export const cases = [
  [
    'what a snapshot saves a restore makes',
    async (t) => {
      const { cache, result } = await saved(t)
      assert.deepEqual([result.files, result.bytes], [3, 6])
      const restored = await cache.restore({ key, into: t.path('into') })
      assert.deepEqual([restored.ok, restored.outcome, restored.generation], [true, 'restored', result.generation])
      assert.deepEqual(readTree(t.path('into')), tree)
    },
  ],
  [
    'a key without a snapshot is a miss, and the target is not made',
    async (t) => {
      const result = await t.cache().restore({ key, into: t.path('into') })
      assert.deepEqual([result.ok, result.outcome], [false, 'miss'])
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'a fallback key is used where the key has nothing',
    async (t) => {
      const { cache } = await saved(t)
      const result = await cache.restore({
        key: 'site/branch',
        fallbackKeys: ['site/other', key],
        into: t.path('into'),
      })
      assert.deepEqual([result.outcome, result.key], ['restored', key])
    },
  ],
  [
    'a second restore into the same folder changes nothing',
    async (t) => {
      const { cache } = await saved(t)
      await cache.restore({ key, into: t.path('into') })
      const again = await cache.restore({ key, into: t.path('into') })
      assert.ok(['unchanged', 'target-not-empty'].includes(again.outcome), again.outcome)
      assert.deepEqual(readTree(t.path('into')), tree)
    },
  ],
  [
    'a snapshot of the same files is unchanged',
    async (t) => {
      const { cache, from } = await saved(t)
      const again = await cache.snapshot({ key, from })
      assert.deepEqual([again.outcome, again.uploadedBytes], ['unchanged', 0])
    },
  ],
  [
    'a restore has the files of the last snapshot',
    async (t) => {
      const { cache, from } = await saved(t)
      writeTree(from, { 'new.txt': 'new' })
      assert.equal(await outcomeOf(cache.snapshot({ key, from })), 'uploaded')
      await cache.restore({ key, into: t.path('into') })
      assert.deepEqual(readTree(t.path('into')), { ...tree, 'new.txt': 'new' })
    },
  ],
  [
    'a folder with files is not a target, unless the mode says so',
    async (t) => {
      const { cache } = await saved(t)
      const into = writeTree(t.path('into'), { mine: 'mine' })
      assert.equal(await outcomeOf(cache.restore({ key, into })), 'target-not-empty')
      assert.deepEqual(readTree(into), { mine: 'mine' })
      assert.equal(await outcomeOf(cache.restore({ key, into, mode: 'merge' })), 'restored')
      assert.deepEqual(readTree(into), { ...tree, mine: 'mine' })
      assert.equal(await outcomeOf(cache.restore({ key, into, mode: 'replace' })), 'restored')
      assert.deepEqual(readTree(into), tree)
    },
  ],
  [
    'an empty folder is a target',
    async (t) => {
      const { cache } = await saved(t)
      mkdirSync(t.path('into'))
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'restored')
      assert.deepEqual(readTree(t.path('into')), tree)
    },
  ],
  [
    'a cache without a store is disabled',
    async (t) => {
      const cache = openCache(undefined)
      const from = writeTree(t.path('from'), tree)
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'disabled')
      assert.equal(await outcomeOf(cache.snapshot({ key, from })), 'disabled')
      await cache.close()
    },
  ],
  [
    'a read-only cache restores and does not write',
    async (t) => {
      const { from } = await saved(t)
      const cache = t.cache('cache', { readOnly: true })
      assert.equal(await outcomeOf(cache.snapshot({ key: 'other', from })), 'disabled')
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'restored')
    },
  ],
  [
    'a snapshot of an empty folder saves nothing',
    async (t) => {
      const { cache } = await saved(t)
      mkdirSync(t.path('nothing'))
      assert.equal(await outcomeOf(cache.snapshot({ key, from: t.path('nothing') })), 'empty')
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'restored')
    },
  ],
  [
    'a snapshot of far fewer files saves nothing, unless allowed',
    async (t) => {
      const { cache } = await saved(t)
      const from = writeTree(t.path('less'), { 'a.txt': '' })
      const guard = { minBytes: 0 }
      assert.equal(await outcomeOf(cache.snapshot({ key, from, guard })), 'shrunk')
      assert.equal(await outcomeOf(cache.snapshot({ key, from, guard: { ...guard, allowShrink: true } })), 'uploaded')
    },
  ],
  [
    'a snapshot with the ticket of an overtaken restore is superseded',
    async (t) => {
      const { cache, from } = await saved(t)
      const { ticket } = await cache.restore({ key, into: t.path('into') })
      writeTree(from, { 'new.txt': 'new' })
      assert.equal(await outcomeOf(cache.snapshot({ key, from })), 'uploaded')
      writeTree(t.path('into'), { 'mine.txt': 'mine' })
      assert.equal(await outcomeOf(cache.snapshot({ key, from: t.path('into'), ticket })), 'superseded')
    },
  ],
  [
    'a snapshot with the ticket of the last restore is saved',
    async (t) => {
      const { cache } = await saved(t)
      const { ticket } = await cache.restore({ key, into: t.path('into') })
      writeTree(t.path('into'), { 'mine.txt': 'mine' })
      assert.equal(await outcomeOf(cache.snapshot({ key, from: t.path('into'), ticket })), 'uploaded')
    },
  ],
  [
    'exclude leaves names out of a snapshot',
    async (t) => {
      const cache = t.cache()
      const from = writeTree(t.path('from'), { ...tree, 'x.log': 'log' })
      await cache.snapshot({ key, from, exclude: ['*.log'] })
      await cache.restore({ key, into: t.path('into') })
      assert.deepEqual(readTree(t.path('into')), tree)
    },
  ],
  [
    'a snapshot with another fingerprint is incompatible',
    async (t) => {
      const cache = t.cache()
      await cache.snapshot({ key, from: writeTree(t.path('from'), tree), fingerprint: 'lock-1' })
      const restore = (fingerprint) => cache.restore({ key, into: t.path('into'), expect: { fingerprint } })
      assert.equal(await outcomeOf(restore('lock-2')), 'incompatible')
      assert.ok(!existsSync(t.path('into')))
      assert.equal(await outcomeOf(restore('lock-1')), 'restored')
    },
  ],
  [
    'a snapshot is of this platform',
    async (t) => {
      const { cache } = await saved(t)
      const restore = (platform, name) => cache.restore({ key, into: t.path(name), expect: { platform } })
      assert.equal(await outcomeOf(restore('another', 'other')), 'incompatible')
      assert.equal(await outcomeOf(restore((await cache.inspect(key)).producer.platform, 'same')), 'restored')
    },
  ],
  [
    'a key of the store signs pointers, and another one refuses them',
    async (t) => {
      await saved(t, { hmacKey: 'a secret of 16 bytes or more' })
      const restore = (hmacKey, name) => t.cache('cache', { hmacKey }).restore({ key, into: t.path(name) })
      assert.equal(await outcomeOf(restore('a secret of 16 bytes or more', 'one')), 'restored')
      const other = await restore('another secret of 16 bytes', 'other')
      assert.ok(['refused', 'corrupt'].includes(other.outcome), other.outcome)
      assert.ok(!existsSync(t.path('other')))
    },
  ],
  [
    'inspect describes a key, and is null for an unknown one',
    async (t) => {
      const { cache, result } = await saved(t)
      const info = await cache.inspect(key)
      assert.deepEqual([info.generation, info.files, info.bytes], [result.generation, 3, 6])
      assert.equal(await cache.inspect('unknown'), null)
    },
  ],
  [
    'remove removes a key',
    async (t) => {
      const { cache } = await saved(t)
      assert.equal(await outcomeOf(cache.remove(key)), 'removed')
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'miss')
    },
  ],
  [
    'prune removes old generations and keeps the current one',
    async (t) => {
      const { cache, from } = await saved(t)
      for (const text of ['1', '2']) {
        writeTree(from, { 'a.txt': text })
        await cache.snapshot({ key, from })
      }
      const { outcome, removed } = await cache.prune({ key, keep: 1, olderThanMs: 0 })
      assert.deepEqual([outcome, removed.length], ['pruned', 2])
      await cache.restore({ key, into: t.path('into') })
      assert.equal(readFileSync(t.path('into', 'a.txt'), 'utf8'), '2')
    },
  ],
  [
    'probe reports what a folder can do',
    async (t) => {
      const cache = t.cache()
      const { writable, conditionalPut } = await cache.probe()
      assert.deepEqual([writable, conditionalPut], [true, true])
    },
  ],
  [
    'calls on a closed cache are refused',
    async (t) => {
      const cache = t.cache()
      await cache.close()
      await fails(cache.restore({ key, into: t.path('into') }), 'ERR_CLOSED')
    },
  ],
  [
    'a raised signal ends a restore and a snapshot',
    async (t) => {
      const { cache, from } = await saved(t)
      const signal = AbortSignal.abort()
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into'), signal })), 'aborted')
      assert.equal(await outcomeOf(cache.snapshot({ key: 'other', from, signal })), 'aborted')
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'keys that leave the store are refused',
    async (t) => {
      const cache = t.cache()
      for (const wrong of ['../a', '', '/a', 'a//b'])
        await fails(cache.restore({ key: wrong, into: t.path('into') }), 'ERR_INVALID_ARGUMENT')
      await fails(cache.restore({ key, into: 'relative' }), 'ERR_INVALID_ARGUMENT')
    },
  ],
  [
    'onEvent has one event for each call',
    async (t) => {
      const events = []
      const { cache } = await saved(t, { onEvent: (event) => events.push(`${event.verb} ${event.outcome}`) })
      await cache.restore({ key, into: t.path('into') })
      assert.deepEqual(events, ['snapshot uploaded', 'restore restored'])
    },
  ],
  [
    'a damaged object is corrupt, and the target is not made',
    async (t) => {
      const { cache } = await saved(t)
      const largest = filesBelow(t.path('cache')).toSorted((a, b) => statSync(b).size - statSync(a).size)
      for (const path of largest) {
        const bytes = readFileSync(path)
        bytes[bytes.length >> 1] ^= 0xff
        writeFileSync(path, bytes)
      }
      const { outcome } = await cache.restore({ key, into: t.path('into') })
      assert.ok(['corrupt', 'refused'].includes(outcome), outcome)
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'an object that was deleted is no restore, and the target is not made',
    async (t) => {
      const { cache } = await saved(t)
      for (const path of filesBelow(t.path('cache'))) rmSync(path)
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'miss')
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'limits of a restore are kept',
    async (t) => {
      const { cache } = await saved(t)
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into'), limits: { maxFiles: 1 } })), 'refused')
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  ...['.tar.zst', '.tar.gz', '.tar'].map((end) => [
    `a key that ends in ${end} is one archive`,
    async (t) => {
      const cache = t.cache()
      const from = writeTree(t.path('from'), tree)
      assert.equal(await outcomeOf(cache.snapshot({ key: `site${end}`, from })), 'uploaded')
      assert.equal(await outcomeOf(unpack(t.path('cache', `site${end}`), t.path('unpacked'))), 'restored')
      assert.equal(await outcomeOf(cache.restore({ key: `site${end}`, into: t.path('into') })), 'restored')
      assert.deepEqual(readTree(t.path('into')), tree)
      assert.deepEqual(readTree(t.path('unpacked')), tree)
    },
  ]),
  [
    'a store in memory',
    async (t) => {
      const cache = openCache('memory:')
      assert.equal(await outcomeOf(cache.snapshot({ key, from: writeTree(t.path('from'), tree) })), 'uploaded')
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'restored')
      await cache.close()
    },
  ],
  [
    'locations that are not valid throw',
    async () => {
      await fails(() => openCache('nonsense:///x'), 'ERR_INVALID_ARGUMENT', 'ERR_UNSUPPORTED')
      await fails(() => openCache(42), 'ERR_INVALID_ARGUMENT')
    },
  ],
  [
    'cacheLocationFromEnv without a bucket has no store',
    async () => {
      assert.equal(cacheLocationFromEnv({}, 'SITE').store, undefined)
      const { store } = cacheLocationFromEnv({ SITE_S3_BUCKET: 'b', SITE_S3_REGION: 'eu-west-1' }, 'SITE')
      assert.ok(JSON.stringify(store).includes('b'))
    },
  ],
  [
    'another process restores what this one saved, and the reverse',
    async (t) => {
      const { cache } = await saved(t)
      const child = await t.child()
      assert.equal((await child.call('restore', t.path('cache'), { key, into: t.path('into') })).outcome, 'restored')
      assert.deepEqual(await child.call('readTree', t.path('into')), tree)
      const from = writeTree(t.path('theirs'), { theirs: 'theirs' })
      assert.equal((await child.call('snapshot', t.path('cache'), { key: 'theirs', from })).outcome, 'uploaded')
      assert.equal(await outcomeOf(cache.restore({ key: 'theirs', into: t.path('back') })), 'restored')
      assert.deepEqual(readTree(t.path('back')), { theirs: 'theirs' })
    },
  ],
  [
    'a process killed while it saves leaves the last complete snapshot',
    async (t) => {
      const child = await t.child()
      child.call('snapshotEndlessly', t.path('cache'), key, t.path('theirs'))
      for (let count = 0; count < 3; count += 1) assert.equal(await child.event('saved'), 'uploaded')
      await child.kill()
      const cache = t.cache()
      assert.equal(await outcomeOf(cache.restore({ key, into: t.path('into') })), 'restored')
      assert.deepEqual(Object.keys(readTree(t.path('into'))), ['a.txt', 'b.txt'])
      // The tree is smaller than the texts of a child that has saved ten times.
      const next = { key, from: writeTree(t.path('from'), tree), guard: { allowShrink: true } }
      assert.equal(await outcomeOf(cache.snapshot(next)), 'uploaded')
    },
  ],
  [
    'a process killed while it restores leaves the old or the new folder, whole',
    async (t) => {
      const cache = t.cache()
      const states = ['one', 'two'].map((text) => ({ 'a.txt': text, 'b.txt': text }))
      for (const [index, files] of states.entries())
        await cache.snapshot({ key: `${index}`, from: writeTree(t.path(`from${index}`), files) })
      const child = await t.child()
      child.call('restoreEndlessly', t.path('cache'), ['0', '1'], t.path('into'))
      for (let count = 0; count < 4; count += 1) assert.equal(await child.event('restored'), 'restored')
      await child.kill()
      const { 'a.txt': a, 'b.txt': b } = readTree(t.path('into'))
      assert.equal(a, b)
      assert.equal(
        await outcomeOf(cache.restore({ key: '0', into: t.path('into'), mode: 'replace' })).then(
          () => readTree(t.path('into'))['a.txt'],
        ),
        'one',
      )
    },
  ],
  [
    'two processes that save one key at the same time leave one of the two',
    async (t) => {
      const children = await t.children(2)
      const calls = children.map((child, index) =>
        child.call('snapshot', t.path('cache'), { key, from: writeTree(t.path(`from${index}`), { n: `${index}` }) }),
      )
      const outcomes = (await Promise.all(calls)).map(({ outcome }) => outcome)
      assert.ok(outcomes.includes('uploaded'), `${outcomes}`)
      assert.ok(
        outcomes.every((each) => ['uploaded', 'superseded', 'busy'].includes(each)),
        `${outcomes}`,
      )
      assert.equal(await outcomeOf(t.cache().restore({ key, into: t.path('into') })), 'restored')
      assert.match(readTree(t.path('into')).n, /^[01]$/)
    },
  ],
]
