// Checks of caches in a separate process, with faults or seeded bugs of the testing addon. Prints one word.
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { openCache } from 'warmswap'
import { serve } from './caches-server.js'

const [check, ...args] = process.argv.slice(2)
const parse = (store) => (store.startsWith('{') ? JSON.parse(store) : store)

const checks = {
  async snapshot(store, from) {
    const cache = openCache(parse(store))
    if (process.env.WARMSWAP_FAULT) createRequire(import.meta.url)('../../dist/binding.cjs').armFaults()
    console.log((await cache.snapshot({ key: 'site', from })).outcome)
  },
  async restore(store, into) {
    console.log((await openCache(parse(store)).restore({ key: 'site', into })).outcome)
  },
  /** A restore whose deadline passes while its worker is held just before the commit. Ends when the worker has. */
  async 'late-restore'(store, into) {
    const cache = openCache(parse(store))
    createRequire(import.meta.url)('../../dist/binding.cjs').armFaults()
    console.log(
      (await cache.restore({ key: 'site', into, mode: 'replace', deadlineMs: Number(process.env.DEADLINE_MS) }))
        .outcome,
    )
    const stages = () => readdirSync(dirname(into)).filter((name) => name.startsWith('.warmswap-stage-'))
    while (stages().length > 0) await new Promise((resolve) => setImmediate(resolve))
    console.log('the worker has ended')
  },
  /** Ends after a message, while the snapshot is running. */
  async detached(store, from) {
    void openCache(parse(store)).snapshot({ key: 'site', from, keepProcessAlive: false })
    await once(process.stdin, 'data')
    process.stdin.destroy()
    console.log('main ends')
  },
  /** One snapshot after the other, each of another tree, until it is killed. */
  async 'write for ever'(store, from) {
    const cache = openCache(parse(store))
    console.log('writing')
    for (let round = 0; ; round += 1) {
      writeFileSync(join(from, 'round'), `${process.pid} ${round}`)
      await cache.snapshot({ key: 'cache.tar', from })
    }
  },
  async shrink(full, half) {
    const cache = openCache('memory:')
    await cache.snapshot({ key: 'site', from: full })
    console.log((await cache.snapshot({ key: 'site', from: half })).outcome)
  },
  async swap(tree) {
    let isPublished = false
    let versions = 0
    const { store, stop } = await serve(({ path, object }, objects) => {
      if (isPublished && path.includes('/blobs/'))
        objects.set(path, { bytes: object.bytes, etag: `"version ${++versions}"` })
    })
    const cache = openCache(store)
    await cache.snapshot({ key: 'site', from: tree })
    isPublished = true
    console.log((await cache.restore({ key: 'site', into: `${tree}-into` })).outcome)
    stop()
  },
  async 'other-range'(tree) {
    let isPublished = false
    const { store, stop } = await serve((answer) => {
      if (isPublished && answer.from !== undefined) answer.to = String(Number(answer.to) - 1)
    })
    const cache = openCache(store)
    await cache.snapshot({ key: 'site', from: tree })
    isPublished = true
    const { outcome, reason } = await cache.restore({ key: 'site', into: `${tree}-into` })
    console.log(outcome, reason.includes("expected the range 'bytes") ? 'range' : 'elsewhere')
    stop()
  },
  async order(tree) {
    const { store, asked, stop } = await serve()
    await openCache(store).snapshot({ key: 'site', from: tree })
    const puts = asked.filter((line) => line.startsWith('PUT') && /\/site\/(blobs\/|current.json)/.test(line))
    console.log(puts.map((line) => (line.includes('/blobs/') ? 'blob' : 'pointer')).join(' '))
    stop()
  },
}

await checks[check](...args)
