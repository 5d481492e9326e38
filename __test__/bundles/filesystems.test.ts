/** Filesystems: which ones are refused, and the guarantees on the others (bundles/filesystems-are-checked). */

import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test as plain } from 'vitest'
import { openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { canMountOverlay, mountBtrfs } from '../support/mounts.js'
import { repository } from '../support/paths.js'
import { publish } from '../support/stores.js'
import { makeTemp, test } from '../support/temp.js'

describe('bundles/filesystems-are-checked: filesystems', () => {
  test('a filesystem that is not on the allow list is ERR_UNSUPPORTED with the way out, before any lock', async ({
    memory,
  }) => {
    const text = `import { openBundles } from 'warmswap'; await openBundles(${JSON.stringify(join(memory, 'store'))}).catch((error) => console.log(error.code, error.message))`
    const child = start(process.execPath, ['--input-type=module', '-e', text], {
      cwd: repository,
      testing: true,
      env: { WARMSWAP_FILESYSTEM: 'nfs' },
    })
    expect(await child.line(/^ERR_/)).toMatch(/^ERR_UNSUPPORTED .* nfs .* link/)
    await child.ended
    expect(readdirSync(memory)).toEqual([])
  })

  const overlay = canMountOverlay()
  plain.skipIf(!overlay)(
    `a store baked into an image layer works on overlayfs${overlay ? '' : ' (NOT RUN: cannot mount overlayfs here)'}`,
    async () => {
      const folder = makeTemp('/dev/shm')
      for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
      const baked = await openBundles(join(folder, 'lower/store'), { keep: 0 })
      await publish(baked, { a: '1' })
      await baked.close()
      // The remains of a build that was killed when its layer was created.
      mkdirSync(join(folder, 'lower/store/stage/orphan/tree'), { recursive: true })
      writeFileSync(join(folder, 'lower/store/stage/orphan/tree/half'), 'half')
      execFileSync('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`,
        `${folder}/merged`,
      ])
      try {
        await using store = await openBundles(join(folder, 'merged/store'))
        expect(store.capabilities.filesystem).toBe('overlayfs')
        expect(readdirSync(join(store.root, 'stage'))).toEqual([])
        const pin = store.pin()
        expect(await publish(store, { a: '2' })).toMatchObject({ number: 2 })
        expect(await store.collect()).toMatchObject({ pinned: [1], kept: [2] })
        expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('1')
        pin.release()
        expect(await store.collect()).toMatchObject({ kept: [2], pinned: [] })
        expect(readdirSync(join(store.root, 'gens'))).toEqual(['000002'])
      } finally {
        execFileSync('umount', [`${folder}/merged`])
        rmSync(folder, { recursive: true })
      }
    },
  )

  plain.skipIf(!overlay)(
    `a directory of an image layer cannot become a link: both ways out are named${overlay ? '' : ' (NOT RUN: cannot mount overlayfs here)'}`,
    async () => {
      const folder = makeTemp('/dev/shm')
      for (const name of ['lower', 'lower/dist', 'upper', 'work', 'merged']) mkdirSync(join(folder, name))
      writeFileSync(join(folder, 'lower/dist/a'), 'baked')
      execFileSync('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `redirect_dir=off,lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`,
        `${folder}/merged`,
      ])
      try {
        const [root, link] = [join(folder, 'merged/store'), join(folder, 'merged/dist')]
        await expect(openBundles(root, { link, adopt: true })).rejects.toMatchObject({
          code: 'ERR_UNSUPPORTED',
          message: expect.stringMatching(/Remove the directory, or omit the option link/),
        })
        expect(readdirSync(join(folder, 'merged')).sort()).toEqual(['dist', 'store'])
        expect(readFileSync(join(link, 'a'), 'utf8')).toBe('baked')
        rmSync(link, { recursive: true })
        await using store = await openBundles(root, { link })
        expect(readFileSync(join(link, 'a'), 'utf8')).toBe('baked')
        expect(await store.verify()).toEqual({ ok: true, problems: [] })
      } finally {
        execFileSync('umount', [`${folder}/merged`])
        rmSync(folder, { recursive: true })
      }
    },
  )

  plain('a stage from the current generation shares its blocks on btrfs', async ({ skip }) => {
    await using disk = mountBtrfs()
    if (disk === undefined) return skip('NOT RUN: needs mkfs.btrfs and a loop device')
    await using store = await openBundles(join(disk.path, 'store'), { keep: 20 })
    expect(store.capabilities).toEqual({ filesystem: 'btrfs', clone: true })
    // Four times more than the image holds, were they copies.
    const contents = randomBytes(64 * 2 ** 20)
    await using first = await store.stage()
    await first.write('large', contents)
    await first.publish()
    for (let copies = 0; copies < 15; copies += 1) {
      await using stage = await store.stage({ from: 'current' })
      await stage.write('small', String(copies))
      await stage.publish()
    }
    expect(readdirSync(join(store.root, 'gens')).length).toBe(16)
    expect(readFileSync(join(store.root, 'current/large')).equals(contents)).toBe(true)
  })
})
