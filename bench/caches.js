// Caches: real node_modules of three sizes on tmpfs and on a disk, compared with GNU tar with zstd or gzip, node-tar
// and tar-fs. Also: calls that find nothing new compared with the first call, eight ranges compared with one connection
// of a remote store, and the memory and event-loop delay of a call.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { createGunzip } from 'node:zlib'
import * as tar from 'tar'
import tarFs from 'tar-fs'
import { openCache, pack, unpack } from '../dist/index.js'
import { inTurn, median } from './lib/measure.js'
import { report } from './lib/report.js'
import { tree } from './lib/trees.js'

const source = tree('medium')
const work = mkdtempSync('/dev/shm/warmswap-bench-')
const disk = mkdtempSync(join(tmpdir(), 'warmswap-bench-'))
const archive = join(work, 'tree.tar.zst')
const gzipped = join(work, 'tree.tgz')
const out = join(work, 'out')
/** In a folder without other entries, because tree manifests are stored next to their tree. */
const live = join(work, 'live/tree')
const store = join(work, 'store')
const PATIENT = { deadlineMs: 120_000 }
const ONE_ROUND = { rounds: 1, warmup: 0 }
/** Throughput of one S3 connection and latency of a first byte, as AWS documents them. */
const FAR = { latencyMs: 60, bytesPerSecond: 90e6 }
const MIB = 2 ** 20
/** Limits of the guarantees. */
const MOST_BYTES = 128 * MIB
const LATEST_MS = 20

function shell(script) {
  const { status, stderr } = spawnSync('bash', ['-c', `set -eo pipefail; ${script}`], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${script}: ${stderr}`)
}
const remove = (path) => rmSync(path, { recursive: true, force: true })
const write = (stream, path) => stream.pipeTo(Writable.toWeb(createWriteStream(path)))
const ms = (value) => `${value.toFixed(0)} ms`
function row(what, times, name, peer, reach) {
  const [ours, theirs] = [median(times[name]), median(times[peer])]
  return { what, ours: ms(ours), peer: `${peer} ${ms(theirs)}`, ratio: ours / theirs, reach }
}
function must(result, outcome) {
  if (result.outcome !== outcome)
    throw new Error(`the outcome is '${result.outcome}', not '${outcome}': ${result.reason}`)
  return result
}

/** A contestant that extracts into an empty folder. */
const into = (run, folder = out) => ({
  prepare: () => {
    remove(folder)
    mkdirSync(folder)
  },
  run,
})

async function extraction() {
  const fast = {
    ours: into(() => unpack(archive, out, { ...PATIENT, symlinks: 'verbatim', strict: true })),
    'zstd │ tar': into(() => shell(`zstd -qdc '${archive}' | tar -C '${out}' -xf -`)),
  }
  const slow = {
    'node-tar': into(() => tar.extract({ file: gzipped, cwd: out })),
    'tar-fs': into(() => pipeline(createReadStream(gzipped), createGunzip(), tarFs.extract(out))),
  }
  const times = { ...(await inTurn(fast)), ...(await inTurn(slow, ONE_ROUND)) }
  const what = 'unpack into tmpfs'
  return [
    row(what, times, 'ours', 'zstd │ tar', 0.6),
    row(what, times, 'ours', 'node-tar', 0.06),
    row(what, times, 'ours', 'tar-fs', 0.1),
  ]
}

async function packing() {
  const packed = join(work, 'packed')
  const fast = {
    ours: () => write(pack(source), packed),
    'tar │ zstd -3 -T0': () => shell(`tar -C '${source}' -cf - . | zstd -q -3 -T0 > '${packed}'`),
  }
  const slow = { 'tar -czf': () => shell(`tar -C '${source}' -czf '${packed}' .`) }
  const times = { ...(await inTurn(fast, { rounds: 3 })), ...(await inTurn(slow, ONE_ROUND)) }
  remove(packed)
  const what = 'pack to tar.zst, level 3'
  return [row(what, times, 'ours', 'tar │ zstd -3 -T0', 0.9), row(what, times, 'ours', 'tar -czf', 0.15)]
}

/** Both directions compared with tar and zstd, for a tree of another size or on another filesystem. */
async function elsewhere(size, where, folder) {
  const from = tree(size)
  const packed = join(folder, 'tree.tar.zst')
  const target = join(folder, 'out')
  await write(pack(from), packed)
  const { files } = must(await unpack(packed, target, { ...PATIENT, symlinks: 'verbatim' }), 'restored')
  const times = await inTurn(
    {
      unpack: into(() => unpack(packed, target, { ...PATIENT, symlinks: 'verbatim', strict: true }), target),
      'zstd │ tar': into(() => shell(`zstd -qdc '${packed}' | tar -C '${target}' -xf -`), target),
      pack: () => write(pack(from), join(folder, 'again')),
      'tar │ zstd -3 -T0': () => shell(`tar -C '${from}' -cf - . | zstd -q -3 -T0 > '${folder}/again'`),
    },
    { rounds: 3 },
  )
  for (const name of ['tree.tar.zst', 'out', 'again']) remove(join(folder, name))
  const what = `${files} files, ${where}`
  return [
    row(`unpack, ${what}`, times, 'unpack', 'zstd │ tar', 0.6),
    row(`pack, ${what}`, times, 'pack', 'tar │ zstd -3 -T0', 0.9),
  ]
}

/**
 * Peak memory above idle and delay of the event loop, in separate processes: the tests' programs with the real tree.
 */
async function footprint() {
  const program = (name, ...args) => {
    const path = fileURLToPath(new URL(`../__test__/programs/${name}`, import.meta.url))
    return JSON.parse(execFileSync(process.execPath, ['--expose-gc', path, ...args], { encoding: 'utf8' }))
  }
  const scratch = join(work, 'footprint')
  mkdirSync(join(scratch, 'live'), { recursive: true })
  mkdirSync(join(scratch, 'restored'))
  shell(`cp -a '${source}/.' '${scratch}/live/from'`)
  const memory = program(
    'caches-memory.mjs',
    'tree',
    `file://${scratch}/store`,
    `${scratch}/live/from`,
    `${scratch}/restored/into`,
  )
  const loop = program('caches-event-loop.mjs', source, join(scratch, 'loop'))
  remove(scratch)
  return ['snapshot', 'restore'].flatMap((verb) => [
    {
      what: `peak memory over idle, ${verb}`,
      ours: `${(must(memory[verb], verb === 'restore' ? 'restored' : 'uploaded').peak / MIB).toFixed(0)} MiB`,
      peer: `allowed ${MOST_BYTES / MIB} MiB`,
      ratio: memory[verb].peak / MOST_BYTES,
      reach: 1,
    },
    {
      what: `event loop delay, p99, ${verb}`,
      ours: `${loop[verb].p99.toFixed(1)} ms (max ${loop[verb].max.toFixed(1)} ms)`,
      peer: `allowed ${LATEST_MS} ms`,
      ratio: loop[verb].p99 / LATEST_MS,
      reach: 1,
    },
    {
      what: `four fs.stat at once, ${verb}`,
      ours: `${loop[verb].statMs.toFixed(1)} ms`,
      peer: `allowed ${LATEST_MS} ms`,
      ratio: loop[verb].statMs / LATEST_MS,
      reach: 1,
    },
  ])
}

/**
 * Bars of the ratios (warmswap
 * peer), with a line where both take the same time.
 */
function plot(rows) {
  const height = 26
  const scale = 320
  const bars = rows.map(({ what, peer, ratio, reach }, index) => {
    const y = 30 + index * height
    const width = Math.max(1, Math.min(ratio, 1.2) * scale).toFixed(1)
    const text = `${what} against ${peer.replace(/ \d+ ms$/, '')}`
    return `<text x="400" y="${y + 14}" text-anchor="end">${text}</text><rect x="408" y="${y}" width="${width}" height="18" fill="${reach === undefined ? '#777' : ratio <= reach ? '#2a9d5c' : '#c8553d'}"/><text x="${414 + Number(width)}" y="${y + 14}">${ratio.toFixed(2)}</text>`
  })
  const bottom = 30 + rows.length * height
  return `<svg xmlns="http://www.w3.org/2000/svg" width="860" height="${bottom + 10}" font-family="sans-serif" font-size="13">\n<text x="10" y="18">Time of warmswap / time of the peer: shorter is better, the line is 1</text>\n${bars.join('\n')}\n<line x1="${408 + scale}" x2="${408 + scale}" y1="26" y2="${bottom}" stroke="#333" stroke-dasharray="3"/>\n</svg>\n`
}

/** The tree manifest is written after the call has returned. */
async function stampOf(path) {
  const isStamp = (name) => /^\.warmswap-stamp-[0-9a-f]{16}$/.test(name)
  while (!readdirSync(join(path, '..')).some(isStamp)) await sleep(5)
}

async function snapshots() {
  shell(`mkdir -p '${live}' && cp -a '${source}/.' '${live}'`)
  const snapshot = async (outcome) => {
    const cache = openCache(`file://${store}`)
    const { uploadedBytes } = must(await cache.snapshot({ ...PATIENT, key: 'site', from: live }), outcome)
    await cache.close()
    if (outcome === 'unchanged' && uploadedBytes > 0)
      throw new Error(`${uploadedBytes} bytes were sent for a tree that had not changed`)
  }
  let touch = 1
  const times = await inTurn(
    {
      'first snapshot': {
        prepare: () => {
          remove(store)
          for (const name of readdirSync(join(live, '..')))
            if (name.startsWith('.warmswap-')) remove(join(live, '..', name))
        },
        run: () => snapshot('uploaded'),
      },
      unchanged: { prepare: () => stampOf(live), run: () => snapshot('unchanged') },
      touched: {
        prepare: () => shell(`find '${live}' -type f -exec touch -d @${++touch} {} +`),
        run: () => snapshot('unchanged'),
      },
    },
    { rounds: 3 },
  )
  return [
    row('snapshot of an unchanged tree, 0 bytes sent', times, 'unchanged', 'first snapshot', 0.15),
    row('snapshot, every mtime touched, 0 bytes sent', times, 'touched', 'first snapshot', 0.4),
  ]
}

async function restores() {
  const target = join(work, 'restored/tree')
  const restore = async (outcome) => {
    const cache = openCache(`file://${store}`)
    must(await cache.restore({ ...PATIENT, key: 'site', into: target, symlinks: 'verbatim' }), outcome)
    await cache.close()
  }
  const times = await inTurn(
    {
      'first restore': {
        prepare: () => {
          remove(join(target, '..'))
          mkdirSync(join(target, '..'))
        },
        run: () => restore('restored'),
      },
      unchanged: { prepare: () => stampOf(target), run: () => restore('unchanged') },
    },
    { rounds: 3 },
  )
  remove(join(target, '..'))
  return [row('restore over an unchanged tree', times, 'unchanged', 'first restore', 0.2)]
}

/** 256 MiB that do not compress, so that the network is measured. */
async function ranges() {
  const noise = join(work, 'noise')
  const object = join(work, 'noise.tar.zst')
  mkdirSync(noise)
  for (let index = 0; index < 16; index += 1) writeFileSync(join(noise, `${index}`), randomBytes(16 << 20))
  await write(pack(noise), object)
  remove(noise)
  const far = new Worker(new URL('lib/far-store.js', import.meta.url), { workerData: { file: object, ...FAR } })
  const [port] = await once(far, 'message')
  const endpoint = `http://127.0.0.1:${port}`
  const cache = openCache({
    scheme: 's3',
    bucket: 'bucket',
    region: 'us-east-1',
    endpoint,
    accessKeyId: 'AKIA',
    secretAccessKey: 'secret',
  })
  const restore = (concurrency) => ({
    prepare: () => remove(out),
    run: async () =>
      must(await cache.restore({ ...PATIENT, key: 'noise.tar.zst', into: out, concurrency }), 'restored'),
  })
  const times = await inTurn(
    {
      '8 ranges': restore(8),
      'one connection': restore(1),
      'one GET, fetch and unpack': {
        prepare: () => remove(out),
        run: async () =>
          must(await unpack((await fetch(`${endpoint}/bucket/noise.tar.zst`)).body, out, PATIENT), 'restored'),
      },
    },
    { rounds: 3 },
  )
  await cache.close()
  await far.terminate()
  const what = `restore of ${(statSync(object).size / 1e6).toFixed(0)} MB from a far store, 8 ranges at once`
  for (const path of [object, out]) remove(path)
  return [
    row(what, times, '8 ranges', 'one connection', 0.25),
    row(what, times, '8 ranges', 'one GET, fetch and unpack', 0.25),
  ]
}

try {
  await write(pack(source), archive)
  await write(pack(source, { format: 'tar.gz' }), gzipped)
  const rows = [...(await extraction()), ...(await packing())]
  const { files, bytes } = must(
    await unpack(archive, join(work, 'count'), { ...PATIENT, symlinks: 'verbatim' }),
    'restored',
  )
  for (const name of ['count', 'out', 'tree.tgz', 'tree.tar.zst']) remove(join(work, name))
  rows.push(...(await snapshots()), ...(await restores()))
  for (const path of [live, store]) remove(path)
  rows.push(...(await ranges()))
  rows.push(
    ...(await elsewhere('small', 'tmpfs', work)),
    ...(await elsewhere('large', 'tmpfs', work)),
    ...(await elsewhere('medium', 'disk', disk)),
  )
  writeFileSync(fileURLToPath(new URL('caches.svg', import.meta.url)), plot(rows))
  rows.push(...(await footprint()))
  report('caches', rows, [
    `The tree: bench/trees/medium/node_modules, ${files} files, ${(bytes / 1e6).toFixed(0)} MB. node-tar and tar-fs extract the same tree from a .tgz, as they have no zstd on every supported Node; those two and \`tar -czf\` run once.`,
    `Snapshots and restores use a file: store on tmpfs. The far store answers after ${FAR.latencyMs} ms with ${FAR.bytesPerSecond / 1e6} MB/s a connection; "one connection" is our own restore with \`concurrency: 1\`.`,
    'Memory and event loop are those of a process that makes the call on the tree above, on tmpfs. The longer forms (4 GiB, 1 GiB in one file, 1 000 000 files) are in `npm run test:long`.',
    '![time against the peers](caches.svg)',
  ])
} finally {
  remove(work)
  remove(disk)
}
