// One of several processes that build one store. Commands on standard input, one line of JSON for each on standard
// output.   node coordinator-builder.mjs <store root> <input folder> <build log> <name>
import { appendFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { openBundles, openCoordinator } from '../../dist/index.js'

const [root, input, log, name] = process.argv.slice(2)
const store = await openBundles(root)
const coordinator = openCoordinator(store, { start: () => Promise.reject(new Error('not used')) })
let changes = 0

const say = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`)
const note = (what) => appendFileSync(log, `${what} ${name}\n`)

/** The output says which change of each process it has seen. */
function readInputs() {
  return Object.fromEntries(readdirSync(input).map((file) => [file, Number(readFileSync(join(input, file), 'utf8'))]))
}

/** What a build that waits for 'go' or 'fail' ends with. */
let gate = () => {}

async function run({ stage, signal }, { slowMs = 0, hang = false, gated = false } = {}) {
  note('begin')
  try {
    const seen = readInputs()
    // A build takes time after it has read its inputs: this is where a change is missed by who joins.
    await new Promise((resolve) => setTimeout(resolve, slowMs))
    if (hang) {
      say({ event: 'building' })
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
    if (gated) {
      const failure = await new Promise((resolve) => {
        gate = resolve
        say({ event: 'building' })
      })
      if (failure) throw Object.assign(new SyntaxError(failure), { code: 'ERR_MINE' })
    }
    await stage.write('seen.json', JSON.stringify(seen))
  } finally {
    note('end')
  }
}

/** Writes an input; the stamp of that. */
function write() {
  changes += 1
  writeFileSync(join(input, name), String(changes))
  return { mine: changes, atLeast: coordinator.change() }
}

let marked

async function change(options, { mine, atLeast } = write()) {
  const { pin, role } = await coordinator.build({ atLeast }, (context) => run(context, options))
  const seen = JSON.parse(readFileSync(pin.resolve('seen.json'), 'utf8'))
  pin.release()
  return { role, missed: seen[name] < mine }
}

const commands = {
  async changes({ count, together }) {
    const tally = { ran: 0, joined: 0, reused: 0, missed: 0 }
    for (let done = 0; done < count; done += together) {
      for (const { role, missed } of await Promise.all(
        Array.from({ length: together }, () => change({ slowMs: Math.random() * 4 })),
      )) {
        tally[role] += 1
        if (missed) tally.missed += 1
      }
    }
    say({ event: 'tally', ...tally })
  },
  async hang() {
    await change({ hang: true })
  },
  async gated() {
    const { role } = await change({ gated: true })
    say({ event: 'built', role })
  },
  async go() {
    gate()
  },
  async fail({ message }) {
    gate(message)
  },
  async mark() {
    marked = write()
    say({ event: 'marked' })
  },
  async once({ marked: isMarked }) {
    // The request first: a process that is paused between the two would ask only after the build that it should wait for.
    const changed = change({}, isMarked ? marked : undefined)
    say({ event: 'waiting' })
    const { role } = await changed
    say({ event: 'built', role, at: Number(process.hrtime.bigint() / 1000n) })
  },
  async faults() {
    const { createRequire } = await import('node:module')
    createRequire(import.meta.url)('../../dist/binding.cjs').armFaults()
    await change({ gated: true })
    say({ event: 'survived' })
  },
  async end() {
    await coordinator[Symbol.asyncDispose]()
    await store.close()
    process.exit(0)
  },
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const { command, ...options } = JSON.parse(line)
  commands[command](options).catch(({ name, code, message, stack }) =>
    say({ event: 'error', name, code, message, stack, status: coordinator.status() }),
  )
})
say({ event: 'ready' })
