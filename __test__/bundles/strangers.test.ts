/**
 * Two users and one directory: entries of another user are read, and neither removed, renamed nor written to. Real
 * users, by setpriv.
 */

// guarantee: bundles/strangers-are-contained

import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { publish } from '../support/stores.js'
import { makeTemp, removeTemp } from '../support/temp.js'
import { isRoot } from '../support/users.js'

const STRANGER = 65_534
const canRun = process.getuid?.() === 0 && spawnSync('setpriv', ['--version']).status === 0

/** Runs a shell command as the stranger. */
const asStranger = (command: string): string =>
  execFileSync(
    'setpriv',
    ['--reuid', String(STRANGER), '--regid', String(STRANGER), '--clear-groups', 'sh', '-ec', command],
    { encoding: 'utf8' },
  )

describe.skipIf(!canRun)(`two users in a sticky directory${canRun ? '' : ' (NOT RUN: needs root and setpriv)'}`, () => {
  let shared: string
  let project: string
  beforeAll(() => {
    shared = makeTemp('/dev/shm')
    chmodSync(shared, 0o1777)
    // The checkout can be in a folder that only root reads.
    project = makeTemp('/dev/shm')
    chmodSync(project, 0o755)
    for (const part of ['dist', 'package.json'])
      cpSync(join(repository, part), join(project, 'node_modules/warmswap', part), { recursive: true })
  })
  afterAll(() => {
    for (const folder of [shared, project]) removeTemp(folder)
  })

  /** Runs a module as the stranger, or as this user; resolves with its output. */
  function node(text: string, { umask = '022', stranger = true } = {}): string {
    const command = `umask ${umask}; cd '${project}'; exec '${process.execPath}' --input-type=module -e "$TEXT"`
    const args = stranger
      ? ['--reuid', String(STRANGER), '--regid', String(STRANGER), '--clear-groups', 'sh', '-ec', command]
      : ['--regid', String(STRANGER), '--keep-groups', 'sh', '-ec', command]
    return execFileSync('setpriv', args, {
      encoding: 'utf8',
      env: { ...process.env, TEXT: `import { openBundles } from 'warmswap'; ${text}` },
    })
  }
  const publishing = (root: string, contents: string): string =>
    `const store = await openBundles(${JSON.stringify(root)}); const stage = await store.stage(); await stage.write('a', '${contents}'); console.log((await stage.publish()).number); await store.close()`

  test("another user's store is read; nothing is written, renamed or removed there", async () => {
    const root = join(shared, 'of-stranger')
    node(publishing(root, 'theirs'))
    const before = execFileSync('find', [root, '-printf', '%p %i %s %T@ %C@\n'], { encoding: 'utf8' })
    const untrusted = { code: 'ERR_UNTRUSTED', path: root, message: expect.stringContaining(`uid ${STRANGER}`) }
    await using store = await openBundles(root)
    const pin = store.pin()
    expect(readFileSync(pin.resolve('a'), 'utf8')).toBe('theirs')
    pin.release()
    expect(await store.verify()).toEqual({ ok: true, problems: [] })
    const acts = [
      store.stage(),
      store.stage({ fenced: true }),
      store.collect(),
      store.rollback(1),
      store.ensure(async () => {}, { fingerprint: 'x' }),
      openBundles(root, { keep: 3 }),
    ]
    for (const result of await Promise.allSettled(acts))
      expect(result).toMatchObject({ status: 'rejected', reason: untrusted })
    expect(execFileSync('find', [root, '-printf', '%p %i %s %T@ %C@\n'], { encoding: 'utf8' })).toBe(before)
  })

  test('a directory that another user created first is not accepted as the root', async () => {
    const root = join(shared, 'made-first')
    asStranger(`mkdir -m 777 '${root}'; ln -s /etc '${root}/trash'`)
    await expect(openBundles(root)).rejects.toMatchObject({
      code: expect.stringMatching(/ERR_UNTRUSTED|ERR_INVALID_ARGUMENT/),
    })
    expect(readdirSync(root)).toEqual(['trash'])
    asStranger(`rm '${root}/trash'`)
    await expect(openBundles(root)).rejects.toMatchObject({ code: 'ERR_UNTRUSTED' })
    expect(readdirSync(root)).toEqual([])
  })

  test("another user's entry under a name that a publish needs is named, and not changed", async () => {
    const root = join(shared, 'open-root')
    mkdirSync(root)
    chmodSync(root, 0o1777)
    await using store = await openBundles(root)
    await publish(store, { a: '1' })
    for (const [name, make] of [
      ['current.tmp', 'ln -s /nowhere'],
      ['current.json.tmp', 'mkfifo'],
      ['build.lock', 'touch'],
      ['fence.tmp', 'mkdir'],
    ] as const) {
      const path = join(root, name)
      asStranger(`${make} '${path}'`)
      const before = lstatSync(path)
      const untrusted = { code: 'ERR_UNTRUSTED', path, message: expect.stringContaining(`uid ${STRANGER}`) }
      await expect(publish(store, { a: '2' }), name).rejects.toMatchObject(untrusted)
      await expect(openBundles(root), name).rejects.toMatchObject(untrusted)
      store.pin().release()
      expect(lstatSync(path)).toMatchObject({ ino: before.ino, ctimeMs: before.ctimeMs })
      asStranger(`rm -rf '${path}'`)
      await publish(store, { a: name })
    }
  })

  test("another user's files in open directories of a store are kept, and block no call", async () => {
    const root = join(shared, 'open-directories')
    await using store = await openBundles(root, { keep: 0 })
    for (const name of ['trash', 'stage', 'owners', 'gens', 'pins']) chmodSync(join(root, name), 0o1777)
    asStranger(
      `cd '${root}'; mkdir -p trash/x/y stage/x; touch trash/x/y/z owners/x; ln -s /etc trash/link; mkfifo owners/pipe; mkdir -p gens/000007/tree; touch pins/000007`,
    )
    await publish(store, { a: '1' })
    await publish(store, { a: '2' })
    await store.collect()
    await (await openBundles(root)).close()
    for (const path of [
      'trash/x/y/z',
      'trash/link',
      'stage/x',
      'owners/x',
      'owners/pipe',
      'gens/000007',
      'pins/000007',
    ])
      expect(lstatSync(join(root, path)).uid, path).toBe(STRANGER)
    expect(existsSync('/etc/passwd')).toBe(true)
    expect(await store.verify()).toEqual({ ok: true, problems: [] })
  })

  test("root works in a user's project, and the user can continue", async () => {
    const root = join(project, 'of-user/.store')
    mkdirSync(join(project, 'of-user'))
    chownSync(join(project, 'of-user'), STRANGER, STRANGER)
    node(publishing(root, 'of the user'))
    await using store = await openBundles(root)
    expect((await publish(store, { a: 'of root' })).number).toBe(2)
    await store.collect()
    expect(
      node(
        `const store = await openBundles(${JSON.stringify(root)}); console.log((await store.verify()).ok, store.pin().generation.number); process.exit()`,
      ),
    ).toBe('true 2\n')
  })

  test('a store that root created is read by others', async () => {
    const root = join(shared, 'of-root')
    await using store = await openBundles(root)
    await publish(store, { a: '1' })
    const text = `const store = await openBundles(${JSON.stringify(root)}); console.log(store.pin().generation.number, await store.stage().catch((error) => error.code)); process.exit()`
    expect(node(text)).toBe('1 ERR_IO\n')
  })

  test('umask 002: members of a group publish in one store, in turn', () => {
    const folder = join(project, 'group')
    mkdirSync(folder)
    chownSync(folder, 0, STRANGER)
    chmodSync(folder, 0o2775)
    const root = join(folder, 'store')
    const numbers = [false, true, false, true].map((stranger, index) =>
      node(publishing(root, String(index)), { umask: '002', stranger }).trim(),
    )
    expect(numbers).toEqual(['1', '2', '3', '4'])
    rmSync(folder, { recursive: true })
  })
})

test.skipIf(!isRoot)(
  `as user nobody: everything, and reading what root published${isRoot ? '' : ' (NOT RUN: needs root to become nobody)'}`,
  async () => {
    const folder = makeTemp('/dev/shm')
    chmodSync(folder, 0o777)
    try {
      await using store = await openBundles(join(folder, 'of-root'))
      await publish(store, { a: '1' })
      // The checkout can be in a folder that only root reads.
      for (const part of ['dist', 'package.json'])
        cpSync(join(repository, part), join(folder, 'node_modules/warmswap', part), { recursive: true })
      const text = `
      import { openBundles } from 'warmswap'
      import { readFileSync } from 'node:fs'
      const own = await openBundles(${JSON.stringify(join(folder, 'own'))}, { keep: 0 })
      for (const text of ['1', '2', '3']) {
        const stage = await own.stage({ from: 'current' })
        await stage.write('deep/a', text)
        await stage.publish()
      }
      console.log(JSON.stringify(await own.collect()), own.current().number, JSON.stringify(await own.verify()))
      const roots = await openBundles(${JSON.stringify(store.root)})
      console.log(readFileSync(roots.pin().resolve('a'), 'utf8'))
      const stage = await roots.stage().catch((error) => console.log(error.code))
    `
      const child = start(process.execPath, ['--input-type=module', '-e', text], { cwd: folder, uid: 65_534 })
      const ended = await child.ended
      expect(child.stderr()).toBe('')
      expect(ended.code).toBe(0)
      expect(child.lines[0]).toMatch(/"kept":\[3\].* 3 \{"ok":true/)
      expect(child.lines.slice(1)).toEqual(['1', 'ERR_IO'])
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
