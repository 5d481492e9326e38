/** Links, and file attributes that an archive does not contain, in a snapshot and a restore. */

import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, lstatSync, mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { type Cache, openCache } from 'warmswap'
import { makeTemp, removeTemp, test } from '../support/temp.js'

const sh = (script: string, cwd: string): string => execFileSync('bash', ['-ec', script], { cwd, encoding: 'utf8' })
/** Why attributes cannot be tried here: no root, no program, or a filesystem or container without them. */
function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  const folder = makeTemp()
  const tried = spawnSync(
    'bash',
    ['-ec', ': > f; setfattr -n user.a -v 1 f; setfacl -m u:1234:rw f; setcap cap_net_raw+ep f; getfattr -d f'],
    { cwd: folder, encoding: 'utf8' },
  )
  removeTemp(folder)
  return tried.status === 0 ? undefined : tried.stderr.trim()
}
const reason = whyNot()

/** Restores with each value of `symlinks`, and returns the ones that were accepted. */
async function accepted(cache: Cache, memory: string): Promise<string[]> {
  const found: string[] = []
  for (const symlinks of ['contained', 'relative', 'verbatim'] as const) {
    const told = await cache.restore({ key: 'site', into: join(memory, symlinks), symlinks })
    expect(told.outcome).toMatch(/^(restored|refused)$/)
    if (told.ok) found.push(symlinks)
  }
  return found
}

describe('the note about symlinks names the option that a restore needs', () => {
  test.for([
    [
      'of an npm workspace',
      { 'node_modules/app': '../../packages/app' },
      /1 symbolic link.*'relative' or 'verbatim'/,
      2,
    ],
    [
      "of bun's cache",
      { 'pad@1.0.0@@@1': '/root/.bun/install/cache/pad@1.0.0', 'pad/1.0.0': '../pad@1.0.0@@@1' },
      /1 of them absolute.*'verbatim'/,
      1,
    ],
    ['of both', { a: '../outside', b: '/usr/bin/env' }, /2 symbolic links.*1 of them absolute.*are 'verbatim'/, 1],
    ['to an absolute path in the tree itself', { a: '{tree}/file' }, /1 of them absolute.*'verbatim'/, 1],
    ['that stay', { a: 'file', 'deep/b': '../file' }, undefined, 3],
  ] as const)('links %s', async ([, links, note, ways], { memory }) => {
    const tree = join(memory, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'file'), 'file')
    for (const [path, target] of Object.entries(links)) {
      mkdirSync(join(tree, path, '..'), { recursive: true })
      symlinkSync(target.replace('{tree}', tree), join(tree, path))
    }
    const cache = openCache('memory:')
    const { outcome, reason } = await cache.snapshot({ key: 'site', from: tree })
    expect(outcome).toBe('uploaded')
    if (note === undefined) expect(reason).toBe(undefined)
    else expect(reason).toMatch(note)
    if (note !== undefined && ways === 1) expect(reason).not.toContain('relative')
    expect(await accepted(cache, memory)).toEqual(['contained', 'relative', 'verbatim'].slice(3 - ways))
    for (const [path, target] of Object.entries(links))
      expect(readlinkSync(join(memory, 'verbatim', path))).toBe(target.replace('{tree}', tree))
  })

  test.skipIf(spawnSync('python3', ['-c', 'import venv']).status !== 0)(
    'a Python venv is restored with the named option, and works',
    async ({ memory }) => {
      const tree = join(memory, 'venv')
      sh('python3 -m venv --without-pip venv', memory)
      const cache = openCache('memory:')
      const { outcome, reason } = await cache.snapshot({ key: 'site', from: tree })
      expect([outcome, reason]).toEqual(['uploaded', expect.stringMatching(/absolute.*are 'verbatim'/)])
      expect(await accepted(cache, memory)).toEqual(['verbatim'])
      expect(sh('verbatim/bin/python -c "import sys; print(sys.prefix)"', memory).trim()).toBe(join(memory, 'verbatim'))
    },
  )
})

test('a package folder of links only (pnpm) is not empty, and one of empty folders is', async ({ memory }) => {
  const packages = join(memory, 'packages')
  mkdirSync(join(packages, '@scope'), { recursive: true })
  const cache = openCache('memory:')
  expect(await cache.snapshot({ key: 'site', from: packages })).toMatchObject({ outcome: 'empty' })
  symlinkSync('../.pnpm/react@19.0.0/node_modules/react', join(packages, 'react'))
  symlinkSync('../../.pnpm/@scope+a@1.0.0/node_modules/@scope/a', join(packages, '@scope/a'))
  const first = await cache.snapshot({ key: 'site', from: packages })
  expect(first).toMatchObject({ outcome: 'uploaded', files: 0, reason: expect.stringContaining("'relative'") })
  expect(await cache.restore({ key: 'site', into: join(memory, 'into'), symlinks: 'relative' })).toMatchObject({
    outcome: 'restored',
  })
  expect(readlinkSync(join(memory, 'into/@scope/a'))).toBe('../../.pnpm/@scope+a@1.0.0/node_modules/@scope/a')
  // And it replaces such a generation, and is found unchanged.
  symlinkSync('../.pnpm/vue@3.0.0/node_modules/vue', join(packages, 'vue'))
  expect(await cache.snapshot({ key: 'site', from: packages })).toMatchObject({ outcome: 'uploaded' })
  expect(await cache.snapshot({ key: 'site', from: packages })).toMatchObject({ outcome: 'unchanged' })
})

describe.skipIf(reason !== undefined)(`attributes${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  const mode = (path: string): string => (lstatSync(path).mode & 0o7777).toString(8)
  /** Names of extended attributes below a folder, ACLs and capabilities included. */
  const attributes = (path: string): string => sh('getfattr -R -h -d -m - . | grep -v "^#" | grep . || true', path)

  test('archives/attributes-are-not-kept: owners, special bits, extended attributes, ACLs and capabilities are not restored', async ({
    disk,
  }) => {
    const tree = join(disk, 'tree')
    mkdirSync(join(tree, 'inherits'), { recursive: true })
    mkdirSync(join(tree, 'sticky'))
    for (const name of ['owned', 'coloured', 'capable', 'special', 'listed']) writeFileSync(join(tree, name), name)
    sh(
      `chown 1234:1234 owned
        setfattr -n user.colour -v blue coloured
        chmod 755 capable; setcap cap_net_raw+ep capable
        chmod 6755 special; chmod 1777 sticky; chmod 2755 inherits
        chmod 640 listed; setfacl -m u:1234:rw listed; setfacl -d -m u:1234:rwx inherits`,
      tree,
    )
    expect(
      attributes(tree)
        .trim()
        .split('\n')
        .map((line) => line.split('=')[0])
        .sort(),
    ).toEqual(['security.capability', 'system.posix_acl_access', 'system.posix_acl_default', 'user.colour'])
    const cache = openCache({ scheme: 'file', path: join(disk, 'store') })
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'uploaded', skipped: [] })
    for (const key of ['site', 'one.tar.gz']) {
      await cache.snapshot({ key, from: tree })
      const into = join(disk, key)
      expect(await cache.restore({ key, into })).toMatchObject({ outcome: 'restored' })
      expect(attributes(into)).toBe('')
      expect(lstatSync(join(into, 'owned'))).toMatchObject({ uid: 0, gid: 0 })
      const names = ['coloured', 'capable', 'special', 'sticky', 'inherits', 'listed']
      // The group bits of a file with an ACL are its mask: that is what stat shows.
      expect(names.map((name) => mode(join(into, name)))).toEqual(['644', '755', '755', '777', '755', '660'])
    }
    // None of them is a change of the tree.
    sh(
      'setfattr -n user.colour -v red coloured; setfattr -n user.more -v 1 owned; chmod 755 sticky; chmod 1777 sticky',
      tree,
    )
    expect(await cache.snapshot({ key: 'site', from: tree })).toMatchObject({ outcome: 'unchanged' })
  })

  test('restored files inherit from their directory, like any new file', async ({ disk }) => {
    const tree = join(disk, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'private'), 'private')
    chmodSync(join(tree, 'private'), 0o600)
    const cache = openCache('memory:')
    await cache.snapshot({ key: 'site', from: tree })
    const parent = join(disk, 'parent')
    mkdirSync(parent)
    sh('chgrp 1234 .; chmod 2755 .; setfacl -d -m u:1234:rwx .', parent)
    expect(await cache.restore({ key: 'site', into: join(parent, 'into') })).toMatchObject({ outcome: 'restored' })
    expect(lstatSync(join(parent, 'into/private')).gid).toBe(1234)
    expect(attributes(join(parent, 'into'))).toContain('system.posix_acl_access')
    // The mask of the inherited ACL is that of the mode, so nobody gets more than the archive grants.
    expect(mode(join(parent, 'into/private'))).toBe('600')
  })

  test('the target keeps its mode with sticky and setgid, and not its ACL and extended attributes', async ({
    disk,
  }) => {
    const tree = join(disk, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'file'), 'file')
    const cache = openCache('memory:')
    await cache.snapshot({ key: 'site', from: tree })
    const into = join(disk, 'into')
    mkdirSync(into)
    writeFileSync(join(into, 'old'), 'old')
    sh('chmod 3775 .; setfattr -n user.colour -v blue .; setfacl -m u:1234:rwx .', into)
    expect(await cache.restore({ key: 'site', into, mode: 'replace' })).toMatchObject({ commit: 'exchange' })
    expect(mode(into)).toBe('3775')
    expect(attributes(into)).toBe('')
  })
})
