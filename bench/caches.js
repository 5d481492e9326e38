// Caches: a real node_modules on tmpfs, against GNU tar with zstd or gzip, node-tar and tar-fs; calls that find nothing new
// against the first one; eight ranges against one connection of a far store.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { spawnSync } from 'node:child_process'
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
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
const archive = join(work, 'tree.tar.zst')
const gzipped = join(work, 'tree.tgz')
const out = join(work, 'out')
/** Beside nothing else, as stamps lie beside the tree that they are of. */
const live = join(work, 'live/tree')
const store = join(work, 'store')
const PATIENT = { deadlineMs: 120_000 }
const ONE_ROUND = { rounds: 1, warmup: 0 }
/** What AWS says that one connection to S3 gives, and the latency of a first byte. */
const FAR = { latencyMs: 60, bytesPerSecond: 90e6 }

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
  if (result.outcome !== outcome) throw new Error(`the outcome is '${result.outcome}', not '${outcome}': ${result.reason}`)
  return result
}

/** A contestant that extracts into an empty folder. */
const into = (run) => ({
  prepare: () => {
    remove(out)
    mkdirSync(out)
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
  return [row(what, times, 'ours', 'zstd │ tar', 0.6), row(what, times, 'ours', 'node-tar', 0.06), row(what, times, 'ours', 'tar-fs', 0.1)]
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

/** The stamp is written off the critical path. */
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
    if (outcome === 'unchanged' && uploadedBytes > 0) throw new Error(`${uploadedBytes} bytes were sent for a tree that had not changed`)
  }
  let touch = 1
  const times = await inTurn(
    {
      'first snapshot': {
        prepare: () => {
          remove(store)
          for (const name of readdirSync(join(live, '..'))) if (name.startsWith('.warmswap-')) remove(join(live, '..', name))
        },
        run: () => snapshot('uploaded'),
      },
      unchanged: { prepare: () => stampOf(live), run: () => snapshot('unchanged') },
      touched: { prepare: () => shell(`find '${live}' -type f -exec touch -d @${(touch += 1)} {} +`), run: () => snapshot('unchanged') },
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

/** 256 MiB that do not compress, so that the network is what is measured. */
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
  const cache = openCache({ scheme: 's3', bucket: 'bucket', region: 'us-east-1', endpoint, accessKeyId: 'AKIA', secretAccessKey: 'secret' })
  const restore = (concurrency) => ({
    prepare: () => remove(out),
    run: async () => must(await cache.restore({ ...PATIENT, key: 'noise.tar.zst', into: out, concurrency }), 'restored'),
  })
  const times = await inTurn(
    {
      '8 ranges': restore(8),
      'one range at a time': restore(1),
      'one GET, fetch and unpack': { prepare: () => remove(out), run: async () => must(await unpack((await fetch(`${endpoint}/bucket/noise.tar.zst`)).body, out, PATIENT), 'restored') },
    },
    { rounds: 3 },
  )
  await cache.close()
  await far.terminate()
  const what = `restore of ${(statSync(object).size / 1e6).toFixed(0)} MB from a far store, 8 ranges at once`
  return [row(what, times, '8 ranges', 'one range at a time', 0.25), row(what, times, '8 ranges', 'one GET, fetch and unpack', 0.25)]
}

try {
  await write(pack(source), archive)
  await write(pack(source, { format: 'tar.gz' }), gzipped)
  const rows = [...(await extraction()), ...(await packing())]
  const { files, bytes } = must(await unpack(archive, join(work, 'count'), { ...PATIENT, symlinks: 'verbatim' }), 'restored')
  for (const name of ['count', 'out', 'tree.tgz', 'tree.tar.zst']) remove(join(work, name))
  rows.push(...(await snapshots()), ...(await restores()))
  for (const path of [live, store]) remove(path)
  rows.push(...(await ranges()))
  report('caches', rows, [
    `The tree: bench/trees/medium/node_modules, ${files} files, ${(bytes / 1e6).toFixed(0)} MB. node-tar and tar-fs extract the same tree from a .tgz, as they have no zstd on every supported Node; those two and \`tar -czf\` run once.`,
    `Snapshots and restores use a file: store on tmpfs. The far store answers after ${FAR.latencyMs} ms with ${FAR.bytesPerSecond / 1e6} MB/s a connection.`,
  ])
} finally {
  remove(work)
}
