// Calls of ensure() in a process of its own, one for each line of standard input: JSON with key, fingerprint, into, and
// buildMs. Prints what happens, one line each.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { openCache } from 'warmswap'

const cache = openCache(JSON.parse(process.argv[2]))
const say = (...words) => console.log(words.join(' '))

async function ensure({ key, fingerprint, into, buildMs, ttlMs, bytes = 1 }) {
  try {
    const { role, generation, reason } = await cache.ensure(key, {
      fingerprint,
      into,
      ttlMs,
      async build({ dir, signal }) {
        signal.addEventListener('abort', () => say(fingerprint, 'aborted'))
        writeFileSync(join(dir, 'builder'), String(process.pid))
        say(fingerprint, 'building')
        await sleep(buildMs, undefined, { signal })
        for (let index = 0; index < 10; index += 1) writeFileSync(join(dir, `file-${index}`), fingerprint.repeat(bytes))
        say(fingerprint, 'has-built')
      },
      onEvent: (event) => event.kind === 'waiting' && say(fingerprint, 'waiting', event.holder.pid),
    })
    say(fingerprint, 'end', role, generation ?? '-', reason ?? '')
  } catch (error) {
    say(fingerprint, 'failed', error.message)
  }
}

createInterface({ input: process.stdin }).on('line', (line) => void ensure(JSON.parse(line)))
say('ready')
