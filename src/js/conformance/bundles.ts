/** Cases of the bundle format: docs/protocol/bundles.md. */

import { readFileSync, readdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesOf, nameOf, publish, withStore } from './bundles-store.js'
import { collecting, publishing } from './bundles-writing.js'
import { type CaseContext, check, numbered, same } from './cases.js'

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

export const bundles = numbered('bundles', [...reading, ...pinning, ...publishing, ...collecting])
