// Two copies of the package, each with its own addon, at one lock: locks-two-copies.js <index.js of the other copy> <lock path> <mode>
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import * as one from 'warmswap'

const [index, path, mode] = process.argv.slice(2)
const other = await import(pathToFileURL(index).href)
const loaded = readFileSync('/proc/self/maps', 'utf8').match(/\/\S+\.node$/gm)
console.log(new Set(loaded).size, 'addons')

for (const [holds, waits] of [
  [one, other],
  [other, one],
]) {
  const lock = await holds.acquireLock(path, { mode })
  console.log((await waits.tryLock(path, { mode })) === null ? 'busy' : 'taken')
  let isReleased = false
  const next = await waits.acquireLock(path, {
    mode,
    onWait() {
      if (isReleased) return
      console.log('waiting')
      isReleased = lock.release().released
    },
  })
  console.log(isReleased ? 'let in' : 'beside its holder')
  next.release()
}
