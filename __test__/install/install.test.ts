// @module-tag system
/** The packed tarballs, installed from a registry by each package manager into an empty folder with an empty cache. */

import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { repository } from '../support/paths.js'
import { makeTemp, removeTemp, test } from '../support/temp.js'
import { type ManagerName, type Project, makeProject } from '../support/package-managers.js'
import { type Registry, startRegistry, tools } from '../support/registry.js'

interface Report {
  imports: Record<string, string>
  done: Record<string, 'ok' | { code: string; message: string }>
}

const MANAGERS: ManagerName[] = ['npm', 'pnpm', 'pnpm workspace', 'yarn node_modules', 'yarn PnP', 'bun', 'deno']
/** What works without the addon. Cells are then shared by one thread only. */
const PORTABLE = ['state', 'cells']

let folder: string
let registry: Registry
/** The root package's tarball. */
let tarball: string

beforeAll(async () => {
  folder = makeTemp()
  const tarballs = JSON.parse(
    execFileSync(process.execPath, ['scripts/pack.js', join(folder, 'packages')], {
      cwd: repository,
      encoding: 'utf8',
    }),
  ) as string[]
  tarball = tarballs.at(-1) as string
  registry = await startRegistry(folder)
  for (const each of tarballs) await registry.publish(each)
}, 180_000)
afterAll(async () => {
  await registry.stop()
  removeTemp(folder)
})

async function consume(project: Project): Promise<Report> {
  const { code, stdout, stderr } = await project.node('consumer.mjs')
  expect(code, stderr).toBe(0)
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as Report
}

const installed = async (project: Project): Promise<void> => {
  const { code, stdout, stderr } = await project.install()
  expect(code, `${stdout}\n${stderr}`).toBe(0)
}

describe.each(MANAGERS)('%s', (manager) => {
  test('installs it, and every export and every capability works', { timeout: 300_000 }, async ({ disk }) => {
    const project = makeProject(manager, disk, registry.url)
    await installed(project)
    const { imports, done } = await consume(project)
    expect(imports).toEqual(Object.fromEntries(Object.keys(imports).map((name) => [name, 'ok'])))
    expect(Object.keys(imports)).toHaveLength(6)
    expect(done).toEqual(Object.fromEntries(Object.keys(done).map((name) => [name, 'ok'])))
    expect(Object.keys(done)).toHaveLength(8)
    console.log(
      `${manager}: ${Object.keys(imports).length} entry points imported, ${Object.keys(done).length} capabilities used`,
    )
  })
})

test('the race kit works in a vitest suite of the project', { timeout: 300_000 }, async ({ disk }) => {
  const project = makeProject('npm', disk, registry.url)
  await installed(project)
  const { code, stdout, stderr } = await project.vitest()
  expect(code, `${stdout}\n${stderr}`).toBe(0)
  expect(stdout).toContain('1 passed')
})

describe('without the platform package', () => {
  /** Every import works, and each capability that needs the addon rejects with the reason. */
  async function explains(project: Project, reason: RegExp): Promise<void> {
    const { imports, done } = await consume(project)
    expect(imports).toEqual(Object.fromEntries(Object.keys(imports).map((name) => [name, 'ok'])))
    for (const [capability, outcome] of Object.entries(done)) {
      if (PORTABLE.includes(capability)) expect(outcome, capability).toBe('ok')
      else
        expect(outcome, capability).toMatchObject({ code: 'ERR_UNSUPPORTED', message: expect.stringMatching(reason) })
    }
    expect(
      readdirSync(join(project.folder, 'node_modules/warmswap'), { recursive: true }).filter((name) =>
        String(name).endsWith('.node'),
      ),
      'no addon outside of the platform package',
    ).toEqual([])
  }

  test('npm install --omit=optional', { timeout: 300_000 }, async ({ disk }) => {
    const project = makeProject('npm', disk, registry.url)
    writeFileSync(join(disk, '.npmrc'), 'omit=optional\n')
    await installed(project)
    await explains(project, /warmswap-linux-x64-gnu/)
  })

  test('a lock file from another platform (npm/cli#4828)', { timeout: 300_000 }, async ({ disk }) => {
    const project = makeProject('npm', disk, registry.url)
    await installed(project)
    // What npm wrote on the other platform: the lock file does not know this platform's package.
    const file = join(disk, 'package-lock.json')
    const lock = JSON.parse(readFileSync(file, 'utf8')) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>
    }
    delete lock.packages['node_modules/warmswap-linux-x64-gnu']
    delete lock.packages['node_modules/warmswap']?.optionalDependencies
    writeFileSync(file, JSON.stringify(lock))
    rmSync(join(disk, 'node_modules'), { recursive: true })
    await installed(project)
    await explains(project, /4828/)
  })
})

test('publint and attw find nothing in the packed package', { timeout: 120_000 }, ({ disk }) => {
  const run = (program: string, args: string[]): string =>
    execFileSync(process.execPath, [join(tools, program), ...args], { encoding: 'utf8' })
  execFileSync('tar', ['-xzf', tarball, '-C', disk])
  expect(run('publint/src/cli.js', [join(disk, 'package'), '--strict', '--pack', 'false'])).toContain('All good')
  // A problem would be a non-zero exit code, which throws. Resolution of before Node 12 knows no subpaths, so it is left out.
  expect(run('@arethetypeswrong/cli/dist/index.js', [tarball, '--profile', 'node16', '--no-color'])).toMatch(
    /warmswap\/race-point.*🟢 \(CJS\)/,
  )
})

test('the platform package is the only one with an addon', { timeout: 300_000 }, async ({ disk }) => {
  const project = makeProject('npm', disk, registry.url)
  await installed(project)
  const modules = realpathSync(join(project.folder, 'node_modules'))
  const addons = readdirSync(modules, { recursive: true })
    .map(String)
    .filter((name) => /^warmswap.*\.node$/.test(name))
  expect(addons).toEqual(['warmswap-linux-x64-gnu/warmswap.linux-x64-gnu.node'])
  // Google's and Azure's stores are left out for their size, and the error names the way out.
  const program = `const { openCache } = await import('warmswap')
    for (const store of ['gs://bucket', 'az://container?account=a']) {
      try {
        openCache(store)
      } catch ({ code }) {
        console.log(code)
      }
    }`
  const options = { cwd: project.folder, encoding: 'utf8' } as const
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], options)
  expect(output).toBe('ERR_UNSUPPORTED\nERR_UNSUPPORTED\n')
})
