/** Cases of the bundle format: docs/protocol/bundles.md. */

import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type BundleStore, type BundleStoreOptions, openBundles } from '../bundles/index.js'
import { type CaseContext, check, numbered, same } from './cases.js'

/** Files of a generation: each holds the version, so that files of two generations in one read are noticed. */
const filesOf = (version: number): Record<string, string> => ({
  'one.txt': `${version}\n`,
  'deep/two.txt': `${version}\n${'x'.repeat(version % 7)}`,
  'deep/größe ü.txt': `${version}\n`,
})

async function publish(store: BundleStore, version: number): Promise<number> {
  const stage = await store.stage()
  for (const [path, text] of Object.entries(filesOf(version))) await stage.write(path, text)
  await stage.write('empty', '')
  await stage.symlink('link', 'one.txt')
  return (await stage.publish()).number
}

/** A folder with the files of a version, as a build leaves them. */
function build(folder: string, version: number): string {
  const from = join(folder, `build-${version}`)
  mkdirSync(join(from, 'deep'), { recursive: true })
  for (const [path, text] of Object.entries(filesOf(version))) writeFileSync(join(from, path), text)
  writeFileSync(join(from, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 })
  return from
}

/** Runs `task` with a store that has this many generations. Old ones are removed as `options` say. */
async function withStore(
  folder: string,
  generations: number,
  task: (store: BundleStore, root: string) => Promise<void>,
  options: BundleStoreOptions = {},
): Promise<void> {
  const root = join(folder, 'store')
  const store = await openBundles(root, options)
  try {
    for (let version = 1; version <= generations; version += 1) await publish(store, version)
    await store.collect()
    await task(store, root)
  } finally {
    await store.close()
  }
}

/** One call after the other. */
async function repeat<T>(times: number, call: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let index = 0; index < times; index += 1) results.push(await call(index))
  return results
}

const nameOf = (number: number): string => String(number).padStart(6, '0')

/** What a reader returns of a generation that `publish` has made. */
function sameFiles(read: Record<string, unknown>, version: number): void {
  const files = Object.entries({ ...filesOf(version), empty: '' }).sort()
  const found = Object.entries((read.files ?? {}) as Record<string, string>).sort()
  same('"files"', Object.fromEntries(found), Object.fromEntries(files))
}

/** Replaces `current`, as no writer of the format does. */
function pointTo(root: string, text: string): void {
  unlinkSync(join(root, 'current'))
  symlinkSync(text, join(root, 'current'))
}

/**
 * A reader must refuse a store that was changed by hand in this way. It has read the store before: an implementation that
 * opens stores may repair them at that moment.
 */
async function refusesDamage({ folder, program }: CaseContext, damage: (root: string) => void): Promise<void> {
  await withStore(folder, 2, async (_, root) => {
    await program.expect('bundles/read', { root })
    damage(root)
    const answer = await program.ask('bundles/read', { root })
    check('error' in answer, `'bundles/read' succeeded with ${JSON.stringify(answer)}. Expected an error`)
  })
}

const reading = [
  {
    title: 'a store without a generation has no current one',
    needs: ['bundles/current'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 0, async (_, root) =>
        same('"number"', (await program.expect('bundles/current', { root })).number, null),
      ),
  },
  {
    title: 'the current generation is the last one that was published',
    needs: ['bundles/current'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 3, async (store, root) => {
        same('"number"', (await program.expect('bundles/current', { root })).number, 3)
        await store.rollback(2)
        same('"number" after a rollback', (await program.expect('bundles/current', { root })).number, 2)
      }),
  },
  {
    title: 'all files of the current generation are read, and no link is followed',
    needs: ['bundles/read'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 2, async (_, root) => {
        const read = await program.expect('bundles/read', { root })
        same('"number"', read.number, 2)
        sameFiles(read, 2)
      }),
  },
  {
    title: 'another version of the format is refused',
    needs: ['bundles/read'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (_, root) => {
        writeFileSync(join(root, 'FORMAT'), 'warmswap bundles 2\n')
        await program.refuses('format', 'bundles/read', { root })
      }),
  },
  {
    title: 'unknown fields are ignored',
    needs: ['bundles/read'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (_, root) => {
        for (const name of ['current.json', 'config.json']) {
          const path = join(root, name)
          writeFileSync(path, JSON.stringify({ later: [1], ...JSON.parse(readFileSync(path, 'utf8')) }))
        }
        sameFiles(await program.expect('bundles/read', { root }), 1)
      }),
  },
  {
    title: 'a pointer with another text than gens/<name>/tree is refused',
    needs: ['bundles/read'],
    run: (context: CaseContext) => refusesDamage(context, (root) => pointTo(root, 'gens/../gens/000001/tree')),
  },
  {
    title: 'a pointer to a number above 2^52 is refused',
    needs: ['bundles/read'],
    run: (context: CaseContext) => refusesDamage(context, (root) => pointTo(root, `gens/${2 ** 52 + 1}/tree`)),
  },
  {
    title: 'a current generation without its lock file is damaged, and no endless loop',
    needs: ['bundles/read'],
    run: (context: CaseContext) => refusesDamage(context, (root) => unlinkSync(join(root, 'pins', nameOf(2)))),
  },
  {
    title: 'a lock file that is a link is refused',
    needs: ['bundles/read'],
    run: (context: CaseContext) =>
      refusesDamage(context, (root) => {
        const pin = join(root, 'pins', nameOf(2))
        writeFileSync(join(root, 'elsewhere'), readFileSync(pin))
        unlinkSync(pin)
        symlinkSync('../elsewhere', pin)
      }),
  },
  {
    title: 'a generation that misses a file of its manifest is damaged',
    needs: ['bundles/read'],
    run: (context: CaseContext) =>
      refusesDamage(context, (root) => rmSync(join(root, 'gens', nameOf(2), 'tree/one.txt'))),
  },
  {
    title: 'reads while 60 generations are published are whole, and no read is older than the one before it',
    needs: ['bundles/read'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (store, root) => {
        let isOver = false
        const writes = (async () => {
          for (let version = 2; version <= 60; version += 1) await publish(store, version)
        })().finally(() => (isOver = true))
        try {
          let last = 0
          while (!isOver) {
            const read = await program.expect('bundles/read', { root })
            const number = Number(read.number)
            check(number >= last, `generation ${number} was read after generation ${last}`)
            sameFiles(read, number)
            last = number
          }
        } finally {
          await writes
        }
        same('"number" at the end', (await program.expect('bundles/read', { root })).number, 60)
      }),
  },
]

const pinning = [
  {
    title: 'a pinned generation is kept over publishes and collections',
    needs: ['bundles/pin'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (store, root) => {
        const pin = await program.expect('bundles/pin', { root })
        same('"number"', pin.number, 1)
        for (const version of [2, 3, 4]) await publish(store, version)
        same('"pinned" of a collection', (await store.collect()).pinned, [1])
        same('a pinned file', readFileSync(join(String(pin.tree), 'one.txt'), 'utf8'), '1\n')
      }),
  },
  {
    title: 'a released generation can be collected',
    needs: ['bundles/pin', 'bundles/release'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (store, root) => {
        const pin = await program.expect('bundles/pin', { root })
        for (const version of [2, 3, 4]) await publish(store, version)
        await program.expect('bundles/release', { pin: pin.pin })
        await store.collect()
        check(!readdirSync(join(root, 'gens')).includes(nameOf(1)), 'generation 1 was not removed after its release')
      }),
  },
  {
    title: 'a pin ends with its process',
    needs: ['bundles/pin'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (store, root) => {
        await program.expect('bundles/pin', { root })
        for (const version of [2, 3, 4]) await publish(store, version)
        await program.kill()
        await store.collect()
        check(!readdirSync(join(root, 'gens')).includes(nameOf(1)), 'generation 1 was kept after its reader was killed')
      }),
  },
]

const publishing = [
  {
    title: 'a published generation is current, complete, and has the next number',
    needs: ['bundles/publish'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 2, async (store, root) => {
        const { number } = await program.expect('bundles/publish', { root, from: build(folder, 9) })
        same('"number"', number, 3)
        same('the current generation', store.current()?.number, 3)
        same('"problems" of verify()', (await store.verify(3)).problems, [])
        using pin = store.pin()
        same('a file', readFileSync(pin.resolve('one.txt'), 'utf8'), '9\n')
        same('the mode of an executable', lstatSync(pin.resolve('run.sh')).mode & 0o777, 0o555)
      }),
  },
  {
    title: 'a tree without any file or link is refused',
    needs: ['bundles/publish'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (store, root) => {
        const from = join(folder, 'empty')
        mkdirSync(join(from, 'deep'), { recursive: true })
        await program.refuses('empty', 'bundles/publish', { root, from })
        same('the current generation', store.current()?.number, 1)
      }),
  },
  {
    title: 'no number is used twice, also after a rollback',
    needs: ['bundles/publish'],
    run: ({ folder, program }: CaseContext) =>
      withStore(
        folder,
        3,
        async (store, root) => {
          await store.rollback(1)
          same('"number"', (await program.expect('bundles/publish', { root, from: build(folder, 9) })).number, 4)
        },
        { keep: 5 },
      ),
  },
  {
    title: 'a later change of the published folder does not change the generation',
    needs: ['bundles/publish'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 0, async (store, root) => {
        const from = build(folder, 9)
        await program.expect('bundles/publish', { root, from })
        writeFileSync(join(from, 'one.txt'), 'changed\n')
        same('"problems" of verify()', (await store.verify()).problems, [])
      }),
  },
  {
    title: 'two publishers at the same time: each generation is whole, and all numbers differ',
    needs: ['bundles/publish'],
    run: ({ folder, program }: CaseContext) =>
      withStore(
        folder,
        1,
        async (store, root) => {
          const from = build(folder, 7)
          const [ours, theirs] = await Promise.all([
            repeat(20, (index) => publish(store, index + 2)),
            repeat(20, async () => (await program.expect('bundles/publish', { root, from })).number),
          ])
          same('the number of different numbers', new Set([...ours, ...theirs]).size, 40)
          for (const { number } of await store.list())
            same(`"problems" of generation ${number}`, (await store.verify(number)).problems, [])
        },
        { keep: 50 },
      ),
  },
  {
    title: 'a publisher that is killed leaves a store that works',
    needs: ['bundles/publish'],
    run: async ({ folder, program, restart }: CaseContext) =>
      withStore(folder, 1, async (store, root) => {
        const from = build(folder, 7)
        for (let index = 0; index < 300; index += 1) writeFileSync(join(from, `${index}.txt`), '7\n')
        let publisher = program
        for (const pause of [0, 3, 8, 20, 40]) {
          const answer = publisher.ask('bundles/publish', { root, from }).catch(() => undefined)
          await new Promise((resolve) => setTimeout(resolve, pause))
          await publisher.kill()
          await answer
          const before = store.current()?.number ?? 0
          same('"problems" of verify()', (await store.verify()).problems, [])
          check((await publish(store, 2)) > before, 'a publish after the kill had no higher number')
          publisher = await restart()
        }
        await store.collect()
        same('what is left of killed stages', readdirSync(join(root, 'stage')), [])
      }),
  },
]

const collecting = [
  {
    title: 'a collection keeps the current generation and the last `keep`, and removes the others',
    needs: ['bundles/collect'],
    run: ({ folder, program }: CaseContext) =>
      withStore(
        folder,
        4,
        async (_, root) => {
          // Only the setting changes, so that the collection is the program's.
          writeFileSync(join(root, 'config.json'), '{"keep":1,"graceMs":0}')
          await program.expect('bundles/collect', { root })
          same('the generations', readdirSync(join(root, 'gens')).sort(), [3, 4].map(nameOf))
        },
        { keep: 9 },
      ),
  },
  {
    title: 'a collection keeps a pinned generation, and removes it after its release',
    needs: ['bundles/collect'],
    run: ({ folder, program }: CaseContext) =>
      withStore(
        folder,
        4,
        async (store, root) => {
          {
            using _pin = store.pin({ generation: 2 })
            writeFileSync(join(root, 'config.json'), '{"keep":1,"graceMs":0}')
            await program.expect('bundles/collect', { root })
            same('the generations', readdirSync(join(root, 'gens')).sort(), [2, 3, 4].map(nameOf))
          }
          await program.expect('bundles/collect', { root })
          same('the generations after the release', readdirSync(join(root, 'gens')).sort(), [3, 4].map(nameOf))
          same('"problems" of verify()', (await store.verify()).problems, [])
        },
        { keep: 9 },
      ),
  },
  {
    title: 'a collection keeps generations that were current within `graceMs`',
    needs: ['bundles/collect'],
    run: ({ folder, program }: CaseContext) =>
      withStore(
        folder,
        4,
        async (_, root) => {
          writeFileSync(join(root, 'config.json'), '{"keep":0,"graceMs":3600000}')
          await program.expect('bundles/collect', { root })
          same('the generations', readdirSync(join(root, 'gens')).sort(), [1, 2, 3, 4].map(nameOf))
        },
        { keep: 9 },
      ),
  },
  {
    title: 'a collection leaves the stage of a live writer, and removes that of a dead one',
    needs: ['bundles/collect'],
    run: ({ folder, program }: CaseContext) =>
      withStore(folder, 1, async (store, root) => {
        await using stage = await store.stage()
        await stage.write('file', 'text')
        const live = readdirSync(join(root, 'stage'))
        mkdirSync(join(root, 'stage/dead/tree'), { recursive: true })
        writeFileSync(join(root, 'owners/dead'), '')
        await program.expect('bundles/collect', { root })
        same('the stages', readdirSync(join(root, 'stage')), live)
        check(!readdirSync(join(root, 'owners')).includes('dead'), 'owners/dead was not removed')
      }),
  },
]

export const bundles = numbered('bundles', [...reading, ...pinning, ...publishing, ...collecting])
