/** A full disk does not change the current generation (bundles/failed-build-changes-nothing). */

import { closeSync, openSync, writeSync } from 'node:fs'
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
