// Writes what cases/fixtures.js reads, on this platform: node __test__/portable/fixtures.js FOLDER
// The folder fixtures/linux-x64-gnu is committed and was made so. `npm run test:platforms` also writes one on each
// platform and reads it on Linux x64.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { bytesOf, CaseContext, endChildren, noise, platform, publish, warmswap, writeTree } from './support.js'

const { acquireLock, pack } = warmswap
const folder = resolve(process.argv[2])
mkdirSync(folder, { recursive: true })
const t = new CaseContext()

const files = { 'a b.txt': 'text', 'empty/': '', 'lib/ä/日本.txt': 'x', 'noise.bin': noise(3000).toString('latin1') }
const tree = writeTree(t.path('tree'), { ...files, 'noise.bin': noise(3000) })
for (const format of ['tar.zst', 'tar.gz', 'tar'])
  writeFileSync(join(folder, `tree.${format}`), await bytesOf(pack(tree, { format })))

const store = await t.store('store', { keep: 5 })
const generations = []
for (const text of ['first', 'second']) {
  const { number, digest } = await publish(store, { 'a.txt': text, 'lib/ä b.txt': text }, { meta: { text } })
  generations.push({ number, digest })
}
await store.collect()
await store.close()

const cache = t.cache()
const { generation } = await cache.snapshot({ key: 'site/main', from: tree, fingerprint: 'f1' })
await cache.snapshot({ key: 'site.tar.gz', from: tree })
await cache.close()

const free = await acquireLock(t.path('locks', 'free'))
free.release()
const child = await t.child()
const dead = await child.call('acquire', t.path('locks', 'dead'), { metadata: { of: platform } })
await child.kill()

for (const name of ['store', 'cache', 'locks'])
  writeFileSync(join(folder, `${name}.tar.gz`), await bytesOf(pack(t.path(name), { format: 'tar.gz' })))
const facts = {
  platform,
  files,
  generations,
  generation,
  free: free.generation,
  dead: { pid: child.pid, generation: dead.generation },
}
writeFileSync(join(folder, 'facts.json'), `${JSON.stringify(facts, null, 2)}\n`)
await t.end()
await endChildren()
process.exit(0)
