/** A full disk does not change the current generation (bundles/failed-build-changes-nothing). */

import { closeSync, openSync, readFileSync, statfsSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test as plain } from 'vitest'
import { openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { mountTmpfs } from '../support/mounts.js'
import { repository } from '../support/paths.js'
import { publish, expectUntouched } from '../support/stores.js'
import { isRoot } from '../support/users.js'

plain.skipIf(!isRoot)(
  `bundles/failed-build-changes-nothing: a full disk leaves the current generation as it was${isRoot ? '' : ' (NOT RUN: needs root for a small tmpfs)'}`,
  async () => {
    await using mounted = mountTmpfs('2m')
    await using store = await openBundles(join(mounted.path, 'store'))
    await publish(store, { a: 'x'.repeat(400_000) })
    await expect(publish(store, { a: 'y'.repeat(3_000_000) })).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringMatching(/No space left.*Free disk space/),
    })
    await expectUntouched(store, 1)
    expect(await publish(store, { a: 'z' })).toMatchObject({ number: 2 })
  },
)

plain.skipIf(!isRoot)(
  `bundles/failed-build-changes-nothing: after a reboot a store on a full disk opens for reading${isRoot ? '' : ' (NOT RUN: needs root for a small tmpfs)'}`,
  async () => {
    await using mounted = mountTmpfs('1m')
    const root = join(mounted.path, 'store')
    const before = await openBundles(root)
    await publish(before, { a: 'whole' })
    await before.close()
    const filler = openSync(join(mounted.path, 'filler'), 'w')
    expect(() => {
      for (;;) writeSync(filler, Buffer.alloc(4096, 1))
    }).toThrow(/ENOSPC/)
    closeSync(filler)
    const text = `import { openBundles } from 'warmswap'; import { readFileSync } from 'node:fs'; const store = await openBundles(${JSON.stringify(root)}); console.log(readFileSync(store.pin().resolve('a'), 'utf8')); process.exit()`
    const child = start(process.execPath, ['--input-type=module', '-e', text], {
      cwd: repository,
      testing: true,
      env: { WARMSWAP_BOOT_ID: 'the next boot' },
    })
    expect(await child.line(/./)).toBe('whole')
    await child.ended
  },
)

/** Fills a filesystem to its last block. */
function fill(folder: string): void {
  const file = openSync(join(folder, `filler-${process.hrtime.bigint()}`), 'w')
  expect(() => {
    for (;;) writeSync(file, Buffer.alloc(4096, 1))
  }).toThrow(/ENOSPC/)
  closeSync(file)
}

plain.skipIf(!isRoot)(
  `vercel/eve#1557: a disk that old generations fill is emptied by the failure to publish on it${isRoot ? '' : ' (NOT RUN: needs root for a small tmpfs)'}`,
  async () => {
    await using mounted = mountTmpfs('4m')
    const root = join(mounted.path, 'store')
    await using store = await openBundles(root, { keep: 0 })
    const writer = await openBundles(root, { keep: 0 })
    const pins = []
    for (let index = 0; index < 3; index += 1) {
      await publish(writer, { a: 'x'.repeat(500_000) })
      pins.push(store.pin())
    }
    // A collection of these publishes that ran after the pins were released would empty the disk before the failure.
    await writer.close()
    fill(mounted.path)
    for (const pin of pins) pin.release()
    await expect(publish(store, { a: 'y'.repeat(600_000) })).rejects.toMatchObject({ code: 'ERR_IO' })
    // The collection that the failure started runs in the background.
    const numbers = async (): Promise<number[]> => (await store.list()).map(({ number }) => number)
    await expect.poll(numbers, { timeout: 20_000 }).toEqual([3])
    // A generation leaves the list when it is renamed. The filesystem has its blocks back only after the removal.
    const freeBytes = (): number => statfsSync(mounted.path).bavail * statfsSync(mounted.path).bsize
    await expect.poll(freeBytes, { timeout: 20_000 }).toBeGreaterThan(700_000)
    expect(await publish(store, { a: 'y'.repeat(600_000) })).toMatchObject({ number: 4 })
  },
)

plain.skipIf(!isRoot)(
  `vercel/eve#1557: a collection on a full disk works, also where current.json has to be written again${isRoot ? '' : ' (NOT RUN: needs root for a small tmpfs)'}`,
  async () => {
    await using mounted = mountTmpfs('2m')
    await using store = await openBundles(join(mounted.path, 'store'), { keep: 0, graceMs: 3_600_000 })
    for (let index = 0; index < 3; index += 1) await publish(store, { a: 'x'.repeat(100_000) })
    await store.pin({ name: 'a', expiresAt: Date.now() + 3_600_000, generation: 1 }).then((pin) => pin.release())
    writeFileSync(join(store.root, 'config.json'), '{"keep":0,"graceMs":0}')
    const mirror = JSON.parse(readFileSync(join(store.root, 'current.json'), 'utf8'))
    // The wall clock was set back: both ends are in the future.
    for (const former of mirror.history) Object.assign(former, { until: Date.now() + 60_000, since: undefined })
    writeFileSync(join(store.root, 'current.json'), JSON.stringify(mirror))
    fill(mounted.path)
    // Without `removed`: the collection after the last publish may still be to come, and removes generation 2 first.
    expect(await store.collect()).toMatchObject({ pinned: [1], kept: [3] })
    expect((await store.list()).map(({ number }) => number)).toEqual([1, 3])
    expect((await store.verify()).ok).toBe(true)
    expect((await store.pins()).map(({ generation }) => generation)).toEqual([1])
  },
)
