/** Cases of the bundle format for programs that publish or collect. */

import { lstatSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesOf, nameOf, publish, withStore } from './bundles-store.js'
import { type CaseContext, check, same } from './cases.js'

/** A folder with the files of a version, as a build leaves them. */
function build(folder: string, version: number): string {
  const from = join(folder, `build-${version}`)
  mkdirSync(join(from, 'deep'), { recursive: true })
  for (const [path, text] of Object.entries(filesOf(version))) writeFileSync(join(from, path), text)
  writeFileSync(join(from, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 })
  return from
}

/** One call after the other. */
async function repeat<T>(times: number, call: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let index = 0; index < times; index += 1) results.push(await call(index))
  return results
}

export const publishing = [
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

export const collecting = [
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
