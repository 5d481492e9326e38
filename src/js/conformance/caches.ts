/** Cases of the cache format, in a folder as the store: docs/protocol/caches.md. */

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { openCache } from '../caches/index.js'
import { type CaseContext, check, numbered, same } from './cases.js'

const KEY = 'app/node_modules'

/** A tree with what a tree of dependencies has. */
function tree(folder: string): string {
  const from = join(folder, 'from')
  mkdirSync(join(from, '.bin'), { recursive: true })
  writeFileSync(join(from, 'a.js'), 'export default 1\n')
  writeFileSync(join(from, 'größe ü.txt'), '')
  writeFileSync(join(from, 'run.js'), '#!/usr/bin/env node\n', { mode: 0o755 })
  writeFileSync(join(from, 'large'), 'x'.repeat(3 << 20))
  symlinkSync('../run.js', join(from, '.bin/run'))
  return from
}

/** What matters of a tree: types, executable bits, bytes and texts of links. */
function describeTree(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
  return Object.fromEntries(
    names.map((name) => {
      const path = join(folder, name)
      const status = lstatSync(path)
      if (status.isSymbolicLink()) return [name, `link ${readlinkSync(path)}`]
      if (status.isDirectory()) return [name, 'directory']
      const text = readFileSync(path, 'utf8')
      return [name, `file ${(status.mode & 0o100) > 0} ${text.length} ${text.slice(0, 20)}`]
    }),
  )
}

/** Runs `task` with the folder of a store that has one generation of a tree. */
async function withSaved(
  folder: string,
  task: (facts: { root: string; store: string; from: string; into: string }) => Promise<void>,
): Promise<void> {
  const root = join(folder, 'store')
  const from = tree(folder)
  await using cache = openCache(pathToFileURL(root).href)
  same('the outcome of snapshot()', (await cache.snapshot({ key: KEY, from })).outcome, 'uploaded')
  await task({ root, store: root, from, into: join(folder, 'into') })
}

const isUntouched = (into: string): void => check(!existsSync(into), 'the target was made')

const cases = [
  {
    title: 'a key without an object has no entry, and a restore of it is a miss',
    needs: ['caches/restore'],
    run: async ({ folder, program }: CaseContext) => {
      const into = join(folder, 'into')
      await withSaved(folder, ({ store }) => program.refuses('miss', 'caches/restore', { store, key: 'another', into }))
      isUntouched(into)
    },
  },
  {
    title: 'a saved tree is restored: files, executable bits, links',
    needs: ['caches/restore'],
    run: ({ folder, program }: CaseContext) =>
      withSaved(folder, async ({ store, from, into }) => {
        await program.expect('caches/restore', { store, key: KEY, into })
        same('the restored tree', describeTree(into), describeTree(from))
      }),
  },
  {
    title: 'a damaged blob is corrupt, and the target is not made',
    needs: ['caches/restore'],
    run: ({ folder, program }: CaseContext) =>
      withSaved(folder, async ({ root, store, into }) => {
        const blobs = join(root, KEY, 'blobs')
        const blob = join(blobs, readdirSync(blobs)[0] as string)
        const bytes = readFileSync(blob)
        const middle = bytes.length >> 1
        bytes[middle] = (bytes[middle] as number) ^ 1
        writeFileSync(blob, bytes)
        await program.refuses('corrupt', 'caches/restore', { store, key: KEY, into })
        isUntouched(into)
      }),
  },
  {
    title: 'a pointer of another version is incompatible',
    needs: ['caches/restore'],
    run: ({ folder, program }: CaseContext) =>
      withSaved(folder, async ({ root, store, into }) => {
        const path = join(root, KEY, 'current.json')
        writeFileSync(path, readFileSync(path, 'utf8').replace('{"v":1,', '{"v":2,'))
        await program.refuses('incompatible', 'caches/restore', { store, key: KEY, into })
        isUntouched(into)
      }),
  },
  {
    title: 'an inspection reports the generation and its sizes',
    needs: ['caches/inspect'],
    run: ({ folder, program }: CaseContext) =>
      withSaved(folder, async ({ store }) => {
        await using cache = openCache(pathToFileURL(store).href)
        const expected = await cache.inspect(KEY)
        const { generation, files, bytes } = await program.expect('caches/inspect', { store, key: KEY })
        same('the answer', [generation, files, bytes], [expected?.generation, expected?.files, expected?.bytes])
      }),
  },
  {
    title: 'a tree that the program saves is restored',
    needs: ['caches/save'],
    run: async ({ folder, program }: CaseContext) => {
      const root = join(folder, 'store')
      const [from, into] = [tree(folder), join(folder, 'into')]
      await program.expect('caches/save', { store: root, key: KEY, from })
      await using cache = openCache(pathToFileURL(root).href)
      const { outcome, reason } = await cache.restore({ key: KEY, into, symlinks: 'contained' })
      check(outcome === 'restored', `restore() ended with '${outcome}': ${reason}`)
      same('the restored tree', describeTree(into), describeTree(from))
    },
  },
  {
    title: 'a second save replaces the first one',
    needs: ['caches/save'],
    run: ({ folder, program }: CaseContext) =>
      withSaved(folder, async ({ store, from, into }) => {
        writeFileSync(join(from, 'a.js'), 'export default 2\n')
        await program.expect('caches/save', { store, key: KEY, from })
        await using cache = openCache(pathToFileURL(store).href)
        await cache.restore({ key: KEY, into })
        same('a file', readFileSync(join(into, 'a.js'), 'utf8'), 'export default 2\n')
      }),
  },
]

export const caches = numbered('caches', cases)
