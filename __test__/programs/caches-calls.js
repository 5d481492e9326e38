// Calls of caches in a separate process, for properties of a whole process: its memory, its output, its environment.
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { openCache, unpack } from 'warmswap'

const [call, ...args] = process.argv.slice(2)

const calls = {
  async restore(store, into) {
    console.log((await openCache(JSON.parse(store)).restore({ key: 'site', into })).outcome)
  },
  async told(store, into, deadlineMs = '10000') {
    const { outcome, reason } = await openCache(JSON.parse(store)).restore({
      key: 'site',
      into,
      mode: 'replace',
      attempts: 1,
      deadlineMs: Number(deadlineMs),
    })
    console.log(outcome, reason ?? '')
  },
  /** Makes every call, with all possible output. */
  async everything(store, tree, into) {
    const say = (name, told) =>
      console.log(
        name,
        inspect(told, { depth: 9, showHidden: true }),
        told instanceof Error ? told.stack : JSON.stringify(told),
      )
    const cache = openCache(JSON.parse(store), {
      hmacKey: process.env.TEST_HMAC_KEY,
      onEvent: (event) => say('event', event),
    })
    const budget = { deadlineMs: 5000, attempts: 2 }
    const each = {
      snapshot: () => cache.snapshot({ key: 'site', from: tree, ...budget }),
      strictSnapshot: () => cache.snapshot({ key: 'site', from: tree, strict: true, ...budget }),
      restore: () => cache.restore({ key: 'site', into, ...budget }),
      strictRestore: () => cache.restore({ key: 'site', into, mode: 'replace', strict: true, ...budget }),
      inspect: () => cache.inspect('site', budget),
      probe: () => cache.probe(budget),
      prune: () => cache.prune({ key: 'site', olderThanMs: 0, ...budget }),
      remove: () => cache.remove('other', budget),
    }
    say('cache', cache)
    for (const [name, call] of Object.entries(each)) say(name, await call().catch((error) => error))
    await cache.close()
  },
  async 'unpack-stream'(into, mebibytes) {
    const size = Number(mebibytes) << 20
    const peak = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
    async function* tar() {
      const header = Buffer.alloc(512)
      header.write('file')
      header.write('0000644\0', 100)
      header.write('0000000\0', 108)
      header.write('0000000\0', 116)
      header.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
      header.write('00000000000\0', 136)
      header.write('        ', 148)
      header.write('0', 156)
      header.write('ustar\x0000', 257)
      header.write(
        `${header
          .reduce((sum, byte) => sum + byte, 0)
          .toString(8)
          .padStart(6, '0')}\0 `,
        148,
      )
      yield header
      // Each chunk is one of its own.
      for (let at = 0; at < size; at += 1 << 16) yield Buffer.alloc(1 << 16, at >> 16)
      yield Buffer.alloc(1024)
    }
    const idle = peak()
    const { outcome } = await unpack(tar(), into)
    console.log(outcome, Math.round(peak() - idle))
  },
}

await calls[call](...args)
