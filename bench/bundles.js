// Bundles compared with today's methods: the cost of a pin and of a publish, and what readers see during a publish.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
  closeSync,
  fsyncSync,
} from 'node:fs'
import { cp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openBundles } from '../dist/index.js'
import { inTurn, median, perCall } from './lib/measure.js'
import { report } from './lib/report.js'

const folder = mkdtempSync(join(tmpdir(), 'warmswap-bench-'))
const rows = []
const microseconds = (value) => `${value.toFixed(1)} µs`
const milliseconds = (value) => `${value.toFixed(1)} ms`

function makeTree(path, files, bytes = 16 * 1024) {
  for (let index = 0; index < files; index += 1) {
    const directory = join(path, `d${index % 20}`)
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, `${index}.js`), Buffer.alloc(bytes, index % 251))
  }
  return path
}

async function publishOne(store, text) {
  const stage = await store.stage()
  await stage.write('a', text)
  return await stage.publish()
}

async function pins() {
  const store = await openBundles(join(folder, 'pins'))
  await publishOne(store, 'x')
  const file = join(folder, '64k')
  writeFileSync(file, Buffer.alloc(65_536, 1))
  const first = await perCall({ ours: () => store.pin().release(), peer: () => readFileSync(file) })
  rows.push({
    what: 'first pin + release of a generation, against readFileSync of 64 KiB',
    ours: microseconds(first.ours),
    peer: microseconds(first.peer),
    ratio: first.ours / first.peer,
    reach: 1,
  })
  const held = store.pin()
  const further = await perCall({ ours: () => store.pin().release(), peer: () => readFileSync(file) })
  held.release()
  await store.close()
  rows.push({
    what: 'further pin + release in this process',
    ours: microseconds(further.ours),
    peer: microseconds(further.peer),
    ratio: further.ours / further.peer,
    reach: 0.4,
  })
}

async function publishes(files, { reach, rounds, durable }) {
  const source = makeTree(join(folder, `source-${files}`), files)
  const contents = readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => ({
      path: join(entry.parentPath, entry.name),
      contents: readFileSync(join(entry.parentPath, entry.name)),
    }))
  const target = join(folder, `copy-${files}`)
  const stores = {
    process: await openBundles(join(folder, `process-${files}`), { keep: 0 }),
    power: await openBundles(join(folder, `power-${files}`), { keep: 0, durability: 'power' }),
  }
  const written = async (store) => {
    const stage = await store.stage()
    await stage.writeAll(contents, source)
    return stage
  }
  const publishing = (store) => ({
    prepare: async () => {
      // The collection for the previous publish runs in the background. It is not part of this measurement.
      await store.collect()
    },
    run: async () => void (await (await written(store)).publish()),
  })
  const fsync = {
    prepare: () => rmSync(target, { recursive: true, force: true }),
    run: () => {
      for (const file of contents) {
        const path = join(target, file.path.slice(source.length))
        mkdirSync(join(path, '..'), { recursive: true })
        const descriptor = openSync(path, 'w')
        writeSync(descriptor, file.contents)
        fsyncSync(descriptor)
        closeSync(descriptor)
      }
    },
  }
  const times = await inTurn(
    {
      ours: publishing(stores.process),
      peer: {
        prepare: () => rmSync(target, { recursive: true, force: true }),
        run: () => cp(source, target, { recursive: true }),
      },
      ...(durable ? { power: publishing(stores.power), fsync } : {}),
    },
    { rounds },
  )
  const [ours, peer] = [median(times.ours), median(times.peer)]
  rows.push({
    what: `write and publish ${files} files of 16 KiB, 'process', against fs.cp of them`,
    ours: milliseconds(ours),
    peer: milliseconds(peer),
    ratio: ours / peer,
    reach,
  })
  if (durable) {
    const [power, flushed] = [median(times.power), median(times.fsync)]
    rows.push({
      what: "the same, 'power', against writing them with an fsync each",
      ours: milliseconds(power),
      peer: milliseconds(flushed),
      ratio: power / flushed,
    })
  }
  for (const store of Object.values(stores)) await store.close()
}

// ── readers during publishes ──
// Each method has a writer here and a reader in a process of its own. The reader reads two files of 64 KiB that must
// match.

const SECONDS = Number(process.env.WARMSWAP_BENCH_SECONDS ?? 4)
/** Minimum number of reads: zero bad reads out of fewer say little. The other methods fail within seconds. */
const LEAST_READS_OF_OURS = 100_000
/** Time limit for a machine that is too slow for that many reads. The row says how many there were. */
const AT_MOST_SECONDS = 45
const body = (generation) => Buffer.from(`${String(generation).padStart(15, '0')}\n`.repeat(4096))

function writeBoth(directory, generation) {
  mkdirSync(directory, { recursive: true })
  for (const name of ['a', 'b']) writeFileSync(join(directory, name), body(generation))
}

const ways = {
  'rm -rf and rebuild': (dist, generation) => {
    rmSync(dist, { recursive: true, force: true })
    writeBoth(dist, generation)
  },
  'overwrite in place': writeBoth,
  'a rename per file': (dist, generation) => {
    writeBoth(`${dist}.new`, generation)
    mkdirSync(dist, { recursive: true })
    for (const name of ['a', 'b']) renameSync(join(`${dist}.new`, name), join(dist, name))
  },
  'two renames': (dist, generation) => {
    writeBoth(`${dist}.new`, generation)
    if (existsSync(dist)) renameSync(dist, `${dist}.old`)
    renameSync(`${dist}.new`, dist)
    rmSync(`${dist}.old`, { recursive: true, force: true })
  },
  'symlink and rename': (dist, generation) => {
    const old = `${dist}.${generation - 1}`
    writeBoth(`${dist}.${generation}`, generation)
    symlinkSync(`${dist}.${generation}`, `${dist}.link`)
    renameSync(`${dist}.link`, dist)
    rmSync(old, { recursive: true, force: true })
  },
}

async function underPublish(name, write) {
  const dist = join(folder, name.replaceAll(' ', '-'))
  await write(dist, 1)
  const reader = spawn(
    process.execPath,
    [fileURLToPath(import.meta.url), 'read', name === 'warmswap' ? 'pin' : 'path', dist],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let output = ''
  reader.stdout.on('data', (text) => (output += text))
  let reading = true
  const closed = once(reader, 'close').finally(() => (reading = false))
  let published = 1
  while (reading) {
    await write(dist, ++published)
    await new Promise(setImmediate)
  }
  const [code] = await closed
  if (code !== 0) throw new Error(`the reader of '${name}' ended with ${code}`)
  return { name, published, ...JSON.parse(output) }
}

async function read(how, dist) {
  const store = how === 'pin' ? await openBundles(dist) : undefined
  const seen = { reads: 0, missing: 0, torn: 0, mixed: 0 }
  const began = Date.now()
  const goesOn = () => {
    const seconds = (Date.now() - began) / 1000
    return seconds < SECONDS || (store !== undefined && seen.reads < LEAST_READS_OF_OURS && seconds < AT_MOST_SECONDS)
  }
  while (goesOn()) {
    const pin = store?.pin()
    const directory = pin?.path ?? dist
    seen.reads += 1
    try {
      const [one, other] = ['a', 'b'].map((name) => readFileSync(join(directory, name)))
      // The same line repeated: whole bytes are equal to themselves one line on.
      const isWhole = (bytes) => bytes.length === 65_536 && bytes.subarray(16).equals(bytes.subarray(0, -16))
      if (!isWhole(one) || !isWhole(other)) seen.torn += 1
      else if (!one.equals(other)) seen.mixed += 1
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
      seen.missing += 1
    }
    pin?.release()
  }
  console.log(JSON.stringify(seen))
}

async function readersUnderPublish() {
  const results = []
  for (const [name, way] of Object.entries(ways)) results.push(await underPublish(name, way))
  let store
  results.push(
    await underPublish('warmswap', async (root, generation) => {
      store ??= await openBundles(root)
      const stage = await store.stage()
      await stage.write('a', body(generation))
      await stage.write('b', body(generation))
      await stage.publish()
    }),
  )
  await store.close()
  const ours = results.at(-1)
  const bad = (result) => result.missing + result.torn + result.mixed
  const worst = results.slice(0, -1).map(bad)
  rows.push({
    what: `bad reads while generations are published (${ours.reads} reads, ${ours.published} publishes)`,
    ours: String(bad(ours)),
    peer: worst.join(' / '),
    reach: 0,
    ratio: bad(ours),
  })
  const table = [
    '| Method | publishes | reads | missing | half-written | mixed |',
    '| --- | --- | --- | --- | --- | --- |',
    ...results.map(
      (each) => `| ${each.name} | ${each.published} | ${each.reads} | ${each.missing} | ${each.torn} | ${each.mixed} |`,
    ),
  ]
  writeFileSync(
    fileURLToPath(new URL('bundles.svg', import.meta.url)),
    plot(results.map((each) => ({ name: each.name, share: bad(each) / each.reads }))),
  )
  return [table.join('\n'), '![bad reads per way to write](bundles.svg)']
}

/** Bars of the share of reads that found no file, a half-written file or two generations. */
function plot(bars) {
  const height = 26
  const lines = bars.map(({ name, share }, index) => {
    const y = 30 + index * height
    const percent = share === 0 ? '0' : `${(share * 100).toPrecision(2)} %`
    return `<text x="150" y="${y + 14}" text-anchor="end">${name}</text><rect x="158" y="${y}" width="${Math.max(1, share * 380).toFixed(1)}" height="18" fill="${share === 0 ? '#2a9d5c' : '#c8553d'}"/><text x="${164 + Math.max(1, share * 380)}" y="${y + 14}">${percent}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="620" height="${40 + bars.length * height}" font-family="sans-serif" font-size="13">\n<text x="10" y="18">Reads that found the bundle missing, half-written or mixed</text>\n${lines.join('\n')}\n</svg>\n`
}

if (process.argv[2] === 'read') {
  await read(process.argv[3], process.argv[4])
} else {
  try {
    await pins()
    await publishes(30, { reach: 1, rounds: 11, durable: true })
    await publishes(3000, { reach: 1.2, rounds: 3, durable: false })
    report('bundles', rows, await readersUnderPublish())
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
