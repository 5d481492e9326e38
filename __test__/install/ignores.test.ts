// @module-tag system
/** What test runners and watchers see of a store: with the settings of the README, nothing or the right thing. */

import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { type BundleStore, openBundles } from 'warmswap'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { tools } from '../support/registry.js'
import { test } from '../support/temp.js'

const run = promisify(execFile)
const node = process.execPath

async function publish(store: BundleStore, text: string): Promise<void> {
  const stage = await store.stage()
  await stage.write('package.json', '{"name":"same"}')
  await stage.write('kept.test.js', `test('kept ${text}', () => {})\n`)
  await stage.publish()
}

/** A project with one test, and a store with three generations and a link. */
async function makeProject(folder: string): Promise<void> {
  writeFileSync(join(folder, 'package.json'), '{"name":"app","type":"module"}')
  mkdirSync(join(folder, 'src'))
  writeFileSync(join(folder, 'src/mine.test.js'), "test('mine', () => {})\n")
  await using store = await openBundles(join(folder, '.warmswap/api'), { keep: 3, link: join(folder, 'dist') })
  for (const text of ['1', '2', '3']) await publish(store, text)
}

test('git leaves a store out', async ({ disk }) => {
  await makeProject(disk)
  await run('git', ['init', '--quiet'], { cwd: disk })
  const { stdout } = await run('git', ['status', '--porcelain', '--untracked-files=all'], { cwd: disk })
  expect(stdout.trim().split('\n').sort()).toEqual(['?? dist', '?? package.json', '?? src/mine.test.js'])
})

test('vitest: bundleIgnores in `exclude`', { timeout: 60_000 }, async ({ disk }) => {
  await makeProject(disk)
  const collected = async (exclude: string): Promise<string[]> => {
    writeFileSync(
      join(disk, 'vitest.config.mjs'),
      `import { join } from 'node:path'
import { bundleIgnores } from '${join(repository, 'dist/index.js')}'
import { configDefaults } from '${join(repository, 'node_modules/vitest/dist/config.js')}'
export default { test: { globals: true, exclude: ${exclude} } }
`,
    )
    const vitest = [join(repository, 'node_modules/vitest/vitest.mjs'), 'list', '--filesOnly', '--json']
    const { stdout } = await run(node, vitest, { cwd: disk })
    return (JSON.parse(stdout) as { file: string }[]).map(({ file }) => relative(disk, file)).sort()
  }
  expect((await collected('configDefaults.exclude')).length).toBeGreaterThan(3)
  const ignores = "[...configDefaults.exclude, ...bundleIgnores(join(process.cwd(), '.warmswap/api')), 'dist/**']"
  expect(await collected(ignores)).toEqual(['src/mine.test.js'])
})

test('jest: the folder of the store in two settings', { timeout: 60_000 }, async ({ disk }) => {
  await makeProject(disk)
  const collected = async (config: object): Promise<{ files: string[]; stderr: string }> => {
    const args = [join(tools, 'jest/bin/jest.js'), '--rootDir', disk, '--config', JSON.stringify(config), '--listTests']
    const { stdout, stderr } = await run(node, args, { cwd: disk })
    const files = stdout.split('\n').filter((line) => line !== '')
    return { files: files.map((file) => relative(disk, file)).sort(), stderr }
  }
  const before = await collected({})
  expect(before.files.length).toBeGreaterThan(3)
  expect(
    await collected({
      testPathIgnorePatterns: ['/node_modules/', '<rootDir>/\\.warmswap/'],
      modulePathIgnorePatterns: ['<rootDir>/\\.warmswap/'],
    }),
  ).toEqual({ files: ['src/mine.test.js'], stderr: '' })
})

test.for([
  ['tsx watch --include, for a folder whose name has no dot', 'store/api', 'tsx/dist/cli.mjs', ['watch', '--include']],
  ['node --watch-path, for any folder', '.warmswap/api', '', ['--watch', '--watch-path']],
] as const)(
  'a program restarts after a publish: %s',
  { timeout: 90_000 },
  async ([, at, program, options], { disk }) => {
    await using store = await openBundles(join(disk, at))
    await publish(store, '1')
    const current = join(at, 'current.json')
    writeFileSync(
      join(disk, 'server.mjs'),
      `import { readFileSync } from 'node:fs'
console.log('started with', JSON.parse(readFileSync('${current}', 'utf8')).number)
setInterval(() => {}, 1_000)
`,
    )
    const watched = program === '' ? at : current
    const command = [...(program === '' ? [] : [join(tools, program)]), ...options, watched, 'server.mjs']
    const child = start(node, command, { cwd: disk })
    await child.line(/^started with 1$/)
    const restarted = child.line(/^started with [^1]/).then(() => true)
    // The watcher may still be setting up its watches when the program prints its line. A restart that is interrupted by the
    // next publish begins again, so the next one comes late.
    for (let number = 2; ; number += 1) {
      await publish(store, String(number))
      if (await Promise.race([restarted, sleep(15_000, false)])) break
    }
  },
)
