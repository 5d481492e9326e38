// Reads what fixtures.js wrote, on this platform or another.
import { existsSync, readFileSync } from 'node:fs'
import { basename, delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assert, publish, readTree, warmswap } from '../support.js'

const { acquireLock, inspectLock, unpack } = warmswap

const committed = fileURLToPath(new URL('../fixtures/linux-x64-gnu', import.meta.url))
const folders = process.env.WARMSWAP_PORTABLE_FIXTURES?.split(delimiter).filter(Boolean) ?? [committed]

async function unpacked(t, folder, name) {
  const result = await unpack(join(folder, `${name}.tar.gz`), t.path(name))
  assert.equal(result.outcome, 'restored', result.reason)
  return t.path(name)
}

const casesOf = (folder) => {
  const facts = JSON.parse(readFileSync(join(folder, 'facts.json'), 'utf8'))
  const named = (name, body) => [`${name}, written on ${basename(folder)}`, body]
  return [
    ...['tar.zst', 'tar.gz', 'tar'].map((format) =>
      named(`an archive ${format}`, async (t) => {
        const result = await unpack(join(folder, `tree.${format}`), t.path('into'))
        assert.equal(result.outcome, 'restored', result.reason)
        assert.deepEqual(readTree(t.path('into')), facts.files)
      }),
    ),
    named('the generations of a store', async (t) => {
      await unpacked(t, folder, 'store')
      const store = await t.store()
      assert.deepEqual(
        (await store.list()).map(({ number, digest }) => ({ number, digest })),
        facts.generations,
      )
      for (const { number } of facts.generations)
        assert.deepEqual(await store.verify(number), { ok: true, problems: [] })
      assert.deepEqual(store.current().meta, { text: 'second' })
      const pin = store.pin()
      assert.deepEqual(readTree(pin.path), { 'a.txt': 'second', 'lib/ä b.txt': 'second' })
      pin.release()
      assert.ok((await publish(store, { a: 'next' })).number > facts.generations.at(-1).number)
    }),
    named('a snapshot of a cache', async (t) => {
      await unpacked(t, folder, 'cache')
      const result = await t.cache().restore({ key: 'site/main', into: t.path('into'), expect: { fingerprint: 'f1' } })
      assert.deepEqual([result.outcome, result.generation], ['restored', facts.generation], result.reason)
      assert.deepEqual(readTree(t.path('into')), facts.files)
    }),
    named('an archive of a cache', async (t) => {
      await unpacked(t, folder, 'cache')
      const result = await t.cache().restore({ key: 'site.tar.gz', into: t.path('into') })
      assert.equal(result.outcome, 'restored', result.reason)
      assert.deepEqual(readTree(t.path('into')), facts.files)
    }),
    named('the generation of a lock that was released', async (t) => {
      await unpacked(t, folder, 'locks')
      const lock = await acquireLock(t.path('locks', 'free'))
      assert.ok(lock.generation > facts.free)
      lock.release()
      assert.ok(!existsSync(t.path('locks', 'free')))
    }),
    named('the lock of a killed process', async (t) => {
      await unpacked(t, folder, 'locks')
      const { holder, liveness } = await inspectLock(t.path('locks', 'dead'))
      assert.deepEqual([holder.pid, holder.metadata], [facts.dead.pid, { of: facts.platform }])
      assert.notEqual(liveness, 'alive')
      const lock = await acquireLock(t.path('locks', 'dead'), { foreignStaleMs: 100 })
      assert.equal(lock.tookOverFrom.pid, facts.dead.pid)
      assert.ok(lock.generation > facts.dead.generation)
      lock.release()
    }),
  ]
}

export const cases = folders.flatMap(casesOf)
