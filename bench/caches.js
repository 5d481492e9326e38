// Caches: a real node_modules packed and unpacked on tmpfs, against GNU tar with zstd or gzip, node-tar and tar-fs.
import { spawnSync } from 'node:child_process'
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import * as tar from 'tar'
import tarFs from 'tar-fs'
import { pack, unpack } from '../dist/index.js'
import { inTurn, median } from './lib/measure.js'
import { report } from './lib/report.js'
import { tree } from './lib/trees.js'

const source = tree('medium')
const work = mkdtempSync('/dev/shm/warmswap-bench-')
const archive = join(work, 'tree.tar.zst')
const gzipped = join(work, 'tree.tgz')
const out = join(work, 'out')

function shell(script) {
  const { status, stderr } = spawnSync('bash', ['-c', `set -eo pipefail; ${script}`], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${script}: ${stderr}`)
}
const empty = () => {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out)
}
/** A contestant that extracts into an empty folder. */
const into = (run) => ({ prepare: empty, run })

async function extraction() {
  const fast = {
    ours: into(() => unpack(archive, out, { symlinks: 'verbatim', strict: true })),
    'zstd │ tar': into(() => shell(`zstd -qdc '${archive}' | tar -C '${out}' -xf -`)),
  }
  const slow = {
    'node-tar': into(() => tar.extract({ file: gzipped, cwd: out })),
    'tar-fs': into(() => pipeline(createReadStream(gzipped), createGunzip(), tarFs.extract(out))),
  }
  const times = { ...(await inTurn(fast, { rounds: 5 })), ...(await inTurn(slow, { rounds: 1, warmup: 0 })) }
  const ours = median(times.ours)
  const against = (peer, reach) => ({ what: 'unpack into tmpfs', ours: ms(ours), peer: `${peer} ${ms(median(times[peer]))}`, ratio: ours / median(times[peer]), reach })
  return [against('zstd │ tar', 0.6), against('node-tar', 0.06), against('tar-fs', 0.1)]
}

async function packing() {
  const packed = join(work, 'packed')
  const times = await inTurn(
    {
      ours: () => pack(source).pipeTo(Writable.toWeb(createWriteStream(packed))),
      'tar │ zstd -3 -T0': () => shell(`tar -C '${source}' -cf - . | zstd -q -3 -T0 > '${packed}'`),
      'tar -czf': () => shell(`tar -C '${source}' -czf '${packed}' .`),
    },
    { rounds: 3 },
  )
  const ours = median(times.ours)
  const against = (peer, reach) => ({ what: 'pack to tar.zst, level 3', ours: ms(ours), peer: `${peer} ${ms(median(times[peer]))}`, ratio: ours / median(times[peer]), reach })
  return [against('tar │ zstd -3 -T0', 0.9), against('tar -czf', 0.15)]
}

const ms = (value) => `${value.toFixed(0)} ms`

try {
  await pack(source).pipeTo(Writable.toWeb(createWriteStream(archive)))
  await pack(source, { format: 'tar.gz' }).pipeTo(Writable.toWeb(createWriteStream(gzipped)))
  const rows = [...(await extraction()), ...(await packing())]
  const { files, bytes } = await unpack(archive, join(work, 'count'), { symlinks: 'verbatim', strict: true })
  report('caches', rows, [`The tree: bench/trees/medium/node_modules, ${files} files, ${(bytes / 1e6).toFixed(0)} MB. node-tar and tar-fs extract the same tree from a .tgz, as they have no zstd on every supported Node.`])
} finally {
  rmSync(work, { recursive: true, force: true })
}
