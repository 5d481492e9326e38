// How late the event loop is, and whether libuv's threads are free, while a tree is packed and restored: prints JSON.
//   caches-event-loop.mjs <from> <into> [block]   with 'block' the loop is held for 600 ms: what the check must see
import { execFileSync } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { openCache } from 'warmswap'

const [from, into, block] = process.argv.slice(2)
const cache = openCache('memory:')

async function observe(call) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  // The first of its ticks only starts the measuring; the last one must see what happened before it.
  await sleep(10)
  let isRunning = true
  const calling = call().finally(() => (isRunning = false))
  const started = performance.now()
  await Promise.all(Array.from({ length: 4 }, () => stat(from)))
  const statMs = performance.now() - started
  const wasRunning = isRunning
  if (block) execFileSync('sleep', ['0.6'])
  const { outcome, files } = await calling
  await sleep(10)
  delay.disable()
  // Nanoseconds.
  return { outcome, files, statMs, wasRunning, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 }
}

const snapshot = await observe(() => cache.snapshot({ key: 'site', from, deadlineMs: 120_000 }))
const restore = await observe(() => cache.restore({ key: 'site', into, deadlineMs: 120_000 }))
await cache.close()
console.log(JSON.stringify({ snapshot, restore }))
