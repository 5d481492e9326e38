// Calls of prewarm() over a store in a process of its own, one for each line of standard input: JSON with store (URL or
// object), made (the file that the run leaves), runMs and ttlMs. Prints what happens, one line each.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { prewarm } from 'warmswap'

const say = (...words) => console.log(words.join(' '))

async function call({ store, made, runMs, ttlMs }) {
  try {
    const { role, value, tookOverFrom } = await prewarm(
      store,
      {
        isReady: () => existsSync(made) && readFileSync(made, 'utf8'),
        async run(lock) {
          lock.signal.addEventListener('abort', () => say('aborted'))
          lock.progress('compiling')
          say('running', lock.generation)
          await sleep(runMs, undefined, { signal: lock.signal })
          lock.assertHeld()
          // A kill leaves the whole result or none.
          writeFileSync(`${made}-${process.pid}`, String(process.pid))
          renameSync(`${made}-${process.pid}`, made)
          say('has-run')
          return String(process.pid)
        },
      },
      { leaseTtlMs: ttlMs, onWait: ({ holder }) => say('waiting', holder.pid, holder.progress?.phase ?? '-') },
    )
    say('end', role, value, tookOverFrom?.pid ?? '-')
  } catch (error) {
    say('failed', error.code ?? error.name, error.message)
  }
}

createInterface({ input: process.stdin }).on('line', (line) => void call(JSON.parse(line)))
say('ready')
