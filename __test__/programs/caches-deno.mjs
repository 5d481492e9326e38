// A model of the report's daemon: a program of Deno that imports the package and restores a folder, and later saves it.
import { openCache, pack, unpack } from 'warmswap'

const [store, into, copy] = Deno.args
const cache = openCache(store)
const events = []
const controller = new AbortController()
const restored = await cache.restore({
  key: 'site',
  into,
  signal: controller.signal,
  onProgress: ({ phase }) => events.push(phase),
})
console.log(JSON.stringify({ deno: Deno.version.deno, restore: restored.outcome, files: restored.files }))
Deno.writeTextFileSync(`${into}/written-by-deno`, 'deno')
console.log(
  JSON.stringify({ snapshot: (await cache.snapshot({ key: 'site', from: into, ticket: restored.ticket })).outcome }),
)
console.log(JSON.stringify({ unpack: (await unpack(pack(into), copy)).outcome }))
console.log(JSON.stringify({ refused: await cache.restore({ key: '../site', into }).catch((error) => error.code) }))
await cache.close()
