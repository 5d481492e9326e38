/** The packed manifests: the links come from one field, and the platform packages carry what the loader checks. */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const { linksOf } = (await import(join(repository, 'scripts/lib/repository.js'))) as {
  linksOf(main: object, directory?: string): Record<string, unknown>
}

test('repository, homepage and bugs follow from the field repository; without it there are none', () => {
  expect(linksOf({})).toEqual({})
  expect(linksOf({ repository: '' })).toEqual({})
  expect(linksOf({ repository: { type: 'git', url: '' } })).toEqual({})
  const links = {
    repository: { type: 'git', url: 'git+https://github.com/owner/name.git' },
    homepage: 'https://github.com/owner/name#readme',
    bugs: { url: 'https://github.com/owner/name/issues' },
  }
  for (const url of [
    'git+https://github.com/owner/name.git',
    'https://github.com/owner/name',
    'git@github.com:owner/name.git',
    'git+ssh://git@github.com/owner/name.git',
    'github:owner/name',
    'owner/name',
  ]) {
    expect(linksOf({ repository: { type: 'git', url } }), url).toEqual(links)
    expect(linksOf({ repository: url }), url).toEqual(links)
  }
  expect(linksOf({ repository: 'owner/name' }, 'npm/linux-x64-gnu').repository).toEqual({
    ...links.repository,
    directory: 'npm/linux-x64-gnu',
  })
  expect(linksOf({ repository: 'owner/name', homepage: 'https://docs.example' }).homepage).toBe('https://docs.example')
})

test('the packed root names exactly the packed platform packages; each has its seal', { timeout: 180_000 }, ({
  disk,
}) => {
  const output = execFileSync(process.execPath, ['scripts/pack.js', disk], {
    cwd: repository,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const tarballs = JSON.parse(output.trim().split('\n').at(-1) as string) as string[]
  const read = (tarball: string, file: string): Buffer =>
    execFileSync('tar', ['-xzOf', tarball, `package/${file}`], { maxBuffer: 1 << 28 })
  const manifests = tarballs.map(
    (tarball) =>
      JSON.parse(read(tarball, 'package.json').toString()) as {
        name: string
        version: string
        main?: string
        optionalDependencies?: Record<string, string>
        devDependencies?: unknown
      },
  )
  const root = manifests.find(({ name }) => name === 'warmswap')
  const platforms = manifests.filter(({ name }) => name !== 'warmswap')
  expect(platforms.length).toBeGreaterThan(0)
  expect(root?.optionalDependencies).toEqual(Object.fromEntries(platforms.map(({ name, version }) => [name, version])))
  expect(root?.devDependencies).toBeUndefined()
  tarballs.forEach((tarball, index) => {
    const { name, main, version } = manifests[index] as (typeof manifests)[number]
    if (name === 'warmswap' || main === undefined) return
    const bytes = read(tarball, main)
    expect(JSON.parse(read(tarball, main.replace(/\.node$/, '.json')).toString())).toEqual({
      version,
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    })
  })
})
