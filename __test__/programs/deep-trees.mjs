// One call that removes or walks a tree of many levels; prints how it ended. Its process must live.
// node deep-trees.mjs <kind> <folder with deep/ and archive>
import { createReadStream, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { openBundles, openCache, pack, unpack } from 'warmswap'

const [kind, root] = process.argv.slice(2)
const at = (name) => join(root, name)
const archive = () =>
  unpack(createReadStream(at('archive')), at('deep'), { mode: kind.endsWith('merge') ? 'merge' : 'replace' })

async function drain(chunks) {
  let bytes = 0
  for await (const chunk of chunks) bytes += chunk.length
  return `${bytes > 0 ? 'some' : 'no'} bytes`
}

async function adopt(how) {
  const store = await openBundles(at('store'))
  const stage = await store.stage()
  await stage.adopt(at('deep'), how)
  await stage.publish()
  return 'published'
}

const kinds = {
  'unpack replace': async () => {
    const { outcome } = await archive()
    // The old tree is removed behind the call.
    while (readdirSync(root).some((name) => name.startsWith('.warmswap-stage'))) await setTimeout(10)
    return outcome
  },
  'unpack merge': async () => (await archive()).outcome,
  pack: () => drain(pack(at('deep'))),
  snapshot: async () => (await openCache('memory:deep').snapshot({ key: 'k', from: at('deep') })).outcome,
  'adopt by move': () => adopt('move'),
  'adopt by clone': () => adopt('clone'),
  discard: async () => {
    const store = await openBundles(at('store'))
    const stage = await store.stage()
    renameSync(at('deep'), join(stage.path, 'deep'))
    await stage.discard()
    return 'discarded'
  },
  trash: async () => {
    await (await openBundles(at('store'))).close()
    renameSync(at('deep'), at('store/trash/old'))
    await (await openBundles(at('store'))).close()
    return 'opened'
  },
  'orphaned stage': async () => {
    await (await openBundles(at('store'))).close()
    renameSync(at('deep'), at('store/stage/orphan'))
    const store = await openBundles(at('store'))
    const { sweptStages } = await store.collect()
    await store.close()
    return `swept ${sweptStages}`
  },
}
try {
  console.log(await kinds[kind]())
} catch (error) {
  console.log(`${error.code}: ${error.message.slice(0, 300)}`)
}
