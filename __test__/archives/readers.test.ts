// @module-tag system
/**
 * Archives of other programs, valid and odd: GNU tar, bsdtar, Python and warmswap make the same tree of them. `npm run
 * test:long` has the whole matrix.
 */

import { execFileSync, spawnSync } from 'node:child_process'
import { createWriteStream, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import * as nodeTar from 'tar'
// @ts-expect-error It has no types.
import * as tarFs from 'tar-fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { unpack } from 'warmswap'
import { repository } from '../support/paths.js'
import { makeTemp, removeTemp } from '../support/temp.js'

const isLong = process.env.WARMSWAP_LONG === '1'

interface Writer {
  name: string
  /** A program that must be installed. */
  needs: string
  /** Run in the folder of the tree `tree`; writes `$OUT`. */
  write: string | ((folder: string, out: string) => Promise<unknown>)
  long?: boolean
}

const sh = (name: string, write: string, long = false): Writer => ({
  name,
  needs: name.split(' ')[0] ?? '',
  write,
  long,
})

const WRITERS: Writer[] = [
  ...['v7', 'oldgnu', 'gnu', 'ustar', 'pax'].map((format) =>
    sh(
      `tar ${format}`,
      `tar --format=${format} -cf $OUT -C ${format === 'v7' || format === 'ustar' ? 'short' : 'tree'} .`,
    ),
  ),
  sh(
    'tar -r and -u',
    'cp -a short t; tar -cf $OUT -C t .; echo later > t/a; tar -rf $OUT -C t ./a ./sub; touch -d 2037-01-01 t/sub/b; tar -uf $OUT -C t .',
  ),
  sh('tar -g', 'tar -g $OUT.snar -cf $OUT -C short .', true),
  sh('tar --label', 'tar --label=volume -cf $OUT -C tree .'),
  sh('tar -b 8192', 'tar -b 8192 -cf $OUT -C short .', true),
  sh('tar -S gnu', 'tar --format=gnu -Scf $OUT -C holes .'),
  ...['0.0', '0.1', '1.0'].map((version) =>
    sh(`tar -S ${version}`, `tar --format=pax --sparse-version=${version} -Scf $OUT -C holes .`),
  ),
  sh('tar pipes', 'mkfifo p-tree/pipe; tar -cf $OUT -C p-tree .'),
  sh('tar -P ./ names', 'cd tree; tar -cf $OUT .//sub/.//b ./a'),
  sh('tar without an end, in gzip', 'tar -b1 -cf - -C short . | head -c -1024 | gzip > $OUT'),
  ...['v7', 'ustar', 'pax', 'gnutar'].map((format) =>
    sh(
      `bsdtar ${format}`,
      `bsdtar --format=${format} -cf $OUT -C ${format === 'v7' || format === 'ustar' ? 'short' : 'tree'} .`,
    ),
  ),
  sh('bsdtar sparse', 'bsdtar --format=pax --read-sparse -cf $OUT -C holes .', true),
  ...['USTAR', 'GNU', 'PAX'].map((format) =>
    sh(
      `python3 ${format}`,
      `python3 -c "import tarfile, os; t = tarfile.open(os.environ['OUT'], 'w', format=tarfile.${format}_FORMAT); t.add('${format === 'USTAR' ? 'short' : 'tree'}', '.'); t.close()"`,
      format !== 'PAX',
    ),
  ),
  {
    name: 'node-tar',
    needs: 'node',
    write: (folder, out) => nodeTar.create({ file: out, cwd: join(folder, 'tree') }, ['.']),
  },
  {
    name: 'node-tar portable gzip',
    needs: 'node',
    write: (folder, out) => nodeTar.create({ file: out, cwd: join(folder, 'tree'), gzip: true, portable: true }, ['.']),
  },
  {
    name: 'tar-fs',
    needs: 'node',
    write: (folder, out) => pipeline(tarFs.pack(join(folder, 'tree')), createWriteStream(out)),
  },
  sh(
    'npm pack',
    'cd package; npm pack --silent --ignore-scripts --pack-destination ..; mv ../sample-1.0.0.tgz $OUT',
    true,
  ),
  sh('git archive', 'cd git; git -c tar.umask=022 archive -o $OUT.tar HEAD; mv $OUT.tar $OUT', true),
  sh('busybox', 'busybox tar -cf $OUT -C tree .', true),
  sh('7z', 'cd tree; 7z a -bd -ttar -snl $OUT.tar . > $OUT.log; mv $OUT.tar $OUT', true),
  ...['ustar', 'pax', 'gnu'].map((format) =>
    sh(
      `go ${format}`,
      // Compiled once: the first writer of the three does it.
      `[ -x pack-go ] || go build -o pack-go "$WRITERS/main.go"; ./pack-go "$PWD/${format === 'ustar' ? 'short' : 'tree'}" $OUT ${format}`,
      true,
    ),
  ),
  ...['posix', 'gnu'].map((format) =>
    sh(
      `java ${format}`,
      `java -cp /usr/share/java/commons-compress.jar "$WRITERS/Pack.java" tree $OUT ${format}`,
      true,
    ),
  ),
  sh('zstd --long=30', 'tar -cf - -C tree . | zstd -q --long=30 > $OUT', true),
  sh('pigz', 'tar -cf - -C tree . | pigz > $OUT', true),
]

/** Entries that a reader extracts differently than the others, with the reason. */
const DIFFERENCES: Record<string, { reader: string; why: string }> = {
  'tar -g': { reader: 'python', why: 'takes a dump of a directory for a file' },
  'tar --label': { reader: 'python', why: 'makes an empty file of the label' },
  'go gnu': { reader: 'python', why: 'takes the times in a GNU header for a path prefix' },
  'zstd --long=30': { reader: 'python', why: 'Python 3.11 has no zstd' },
}

const READERS: Record<string, string> = {
  tar: 'case $OUT in *long=30) zstd -qdc --long=30 < "$OUT" | tar -xf - ;; *) tar -xf "$OUT" ;; esac',
  bsdtar: 'case $OUT in *long=30) zstd -qdc --long=30 < "$OUT" | bsdtar -xf - ;; *) bsdtar -xf "$OUT" ;; esac',
  python: `python3 -c "import tarfile, os; tarfile.open(os.environ['OUT']).extractall('.', filter='tar')"`,
}

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

function shell(script: string, cwd: string, out: string): boolean {
  const env = { ...process.env, OUT: out, LC_ALL: 'C.UTF-8', WRITERS: join(repository, '__test__/archives/writers') }
  return spawnSync('bash', ['-c', `set -eo pipefail; umask 022; ${script}`], { cwd, env }).status === 0
}

/**
 * The case of node-tar hung once, and not in 16 500 repeats. The limit shows whether the writer hangs or unpack() does: a
 * writer that hangs gets a second file.
 */
async function writtenBy(write: (out: string) => Promise<unknown>, out: string): Promise<string> {
  for (const file of [out, `${out}-again`]) {
    const timer = new AbortController()
    const late = setTimeout(20_000, false, { signal: timer.signal }).catch(() => false)
    const isWritten = await Promise.race([write(file).then(() => true), late])
    timer.abort()
    if (isWritten) return file
  }
  throw new Error('the writer did not end within 20 s, twice')
}

/** Trees to pack: one for every format, one for those without long names, and others for single writers. */
function makeTrees(folder: string): void {
  execFileSync('bash', [
    '-c',
    `set -e; umask 022; cd "$1"
    mkdir -p short/sub/empty; echo one > short/a; echo two > short/sub/b; chmod 755 short/a; ln -s sub/b short/link; : > short/nothing
    cp -a short p-tree; cp -a short tree
    long=$(printf 'x%.0s' {1..120}); mkdir -p tree/$long/$long; echo deep > tree/$long/$long/$long; ln -s $long/$long tree/far
    echo ä > tree/äöü; ln tree/a tree/hard; ln -s $long/$long/$long/no/where tree/dangling
    mkdir holes; truncate -s 3M holes/all; truncate -s 1M holes/some; printf data | dd of=holes/some bs=1 seek=500000 conv=notrunc status=none
    printf end >> holes/some; echo whole > holes/whole
    cp -a short package; echo '{"name":"sample","version":"1.0.0"}' > package/package.json
    cp -a short git; cd git; git init -q; git add .; git -c user.name=t -c user.email=t@t commit -qm t`,
    'bash',
    folder,
  ])
}

/** Kind, permission bits, content or text of each entry that a restore makes. */
function describeTree(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .sort()
    .flatMap((path) => {
      const stat = lstatSync(join(root, path))
      const mode = (stat.mode & 0o777).toString(8)
      if (stat.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(root, path))}`]
      if (stat.isDirectory()) return [`${path}/ ${mode}`]
      if (!stat.isFile()) return []
      return [`${path} ${mode} ${readFileSync(join(root, path)).toString('base64').slice(0, 400)} ${stat.size}`]
    })
}

const compared: string[] = []
const wanted = WRITERS.filter(({ long }) => isLong || !long)

describe('GNU tar, bsdtar, Python and warmswap extract the same tree from the archives of other writers', () => {
  let folder: string
  beforeAll(() => {
    folder = makeTemp('/dev/shm')
    makeTrees(folder)
  })
  afterAll(() => removeTemp(folder))

  for (const { name, needs, write } of wanted) {
    // The first `go build` compiles the standard library.
    test.skipIf(!has(needs))(name, { timeout: 300_000 }, async () => {
      let out = join(folder, name.replaceAll(/[^a-z0-9=]+/gi, '-'))
      if (typeof write === 'string') expect(shell(write, folder, out), `${name} writes`).toBe(true)
      else out = await writtenBy((file) => write(folder, file), out)
      const result = await unpack(out, join(`${out}.warmswap`), {
        symlinks: 'verbatim',
        limits: { maxMemoryBytes: 1_107_296_256 },
      })
      expect(result).toMatchObject({ outcome: 'restored' })
      expect(result.skipped).toEqual(name === 'tar pipes' ? [{ path: 'pipe', why: 'pipe' }] : undefined)
      const ours = describeTree(`${out}.warmswap`)
      expect(ours.length).toBeGreaterThan(2)
      for (const [reader, script] of Object.entries(READERS)) {
        if (!has(reader === 'python' ? 'python3' : reader)) continue
        const there = `${out}.${reader}`
        mkdirSync(there)
        const theirs = shell(script, there, out) ? describeTree(there) : ['error']
        if (DIFFERENCES[name]?.reader === reader) expect(theirs, `${reader}, the known difference`).not.toEqual(ours)
        else expect(theirs, reader).toEqual(ours)
      }
      compared.push(name)
    })
  }

  test('enough writers are installed', () => {
    expect(compared.length).toBeGreaterThanOrEqual(isLong ? 20 : 12)
  })
})
