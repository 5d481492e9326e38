import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openBundles } from 'warmswap'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const cli = join(repository, 'dist/cli.js')
const warmswap = (...args: string[]): string => execFileSync(process.execPath, [cli, ...args], { encoding: 'utf8' })

test('--version prints the version of the package', () => {
  expect(warmswap('--version').trim()).toBe(JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version)
})

test('doctor reports the filesystem of a directory and which guarantees hold there', ({ memory }) => {
  const report = warmswap('doctor', memory)
  expect(report).toMatch(/filesystem {2}tmpfs/)
  expect(report).toMatch(/bundles {5}yes/)
  expect(report).toMatch(/locks {7}kernel mode/)
})

test('doctor says why a filesystem is not trusted, and the way out', () => {
  const report = warmswap('doctor', '/proc')
  expect(report).toMatch(/bundles {5}no: put the store on a local filesystem and use link/)
  expect(report).toMatch(/locks {7}lease mode/)
})

test('doctor of a directory that does not exist ends with its name', () => {
  const result = spawnSync(process.execPath, [cli, 'doctor', '/nowhere'], { encoding: 'utf8' })
  expect(result.status).toBe(1)
  expect(result.stderr).toMatch(/'\/nowhere'.*\[ERR_IO\]/)
})

test('an unknown command is named, and the known ones are listed', () => {
  const result = spawnSync(process.execPath, [cli, 'frobnicate'], { encoding: 'utf8' })
  expect(result.status).toBe(2)
  expect(result.stderr).toMatch(/unknown command 'frobnicate'/)
  expect(result.stderr).toMatch(/Known commands: lock, cache, conformance, doctor, bundles\./)
})

test('doctor --json has every finding with its facts', ({ memory }) => {
  const report = JSON.parse(warmswap('doctor', memory, '--json'))
  expect(report).toMatchObject({ ok: true, platform: process.platform, node: process.version })
  const names = report.findings.map(({ name }: { name: string }) => name)
  expect(names).toEqual(expect.arrayContaining(['version', 'addon', 'directory', 'filesystem', 'bundles', 'locks']))
  expect(report.findings).toContainEqual(
    expect.objectContaining({ name: 'filesystem', filesystem: 'tmpfs', trusted: true, problem: false }),
  )
  if (process.platform === 'linux')
    expect(report.findings).toContainEqual(
      expect.objectContaining({
        name: 'open files',
        maxOpenFiles: expect.toSatisfy((most) => most === null || most > 0),
      }),
    )
})

test('doctor reports stores with their links, locks of dead holders, and a cache location', async ({ memory }) => {
  await using store = await openBundles(join(memory, '.warmswap'), { link: join(memory, 'dist') })
  const stage = await store.stage()
  await stage.write('main.js', 'export {}')
  await stage.publish()
  spawnSync(process.execPath, [
    cli,
    'lock',
    'run',
    '--close',
    join(memory, 'a.lock'),
    '--',
    'sh',
    '-c',
    'kill -9 $PPID',
  ])
  expect(warmswap('lock', 'ls', memory)).toMatch(/^dead +a\.lock +pid/)
  const report = warmswap('doctor', memory, '--store', `file://${join(memory, 'cache')}`)
  expect(report).toContain(`store       ${join(memory, '.warmswap')}, generation 1\n`)
  expect(report).toContain(`link        ${join(memory, 'dist')} leads to ${join(memory, '.warmswap')}\n`)
  expect(report).toMatch(/lock files {2}1 in the directory, 0 held, 1 of dead holders \(a\.lock\)/)
  expect(report).toMatch(/cache {7}readable and writable, concurrent writers are detected/)
  const broken = spawnSync(
    process.execPath,
    [cli, 'doctor', memory, '-q', '--store', 's3://b/p?region=r&endpoint=http://127.0.0.1:1'],
    {
      encoding: 'utf8',
      env: { ...process.env, AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
    },
  )
  expect(broken).toMatchObject({ status: 1, stderr: '' })
  expect(broken.stdout).toMatch(/^cache {7}[^\n]+\n$/)
})

test('lock run: a command that cannot be started ends as in a shell, and no option gets into the record', async ({
  memory,
}) => {
  const path = join(memory, 'a.lock')
  const missing = spawnSync(process.execPath, [cli, 'lock', 'run', path, '--', 'warmswap-no-such-program'], {
    encoding: 'utf8',
  })
  expect([missing.status, missing.stderr]).toEqual([
    127,
    "warmswap: 'warmswap-no-such-program' cannot be started: ENOENT\n",
  ])
  const forbidden = join(memory, 'not-executable')
  writeFileSync(forbidden, '')
  expect(spawnSync(process.execPath, [cli, 'lock', 'run', path, '--', forbidden]).status).toBe(126)
  const record = execFileSync(
    process.execPath,
    [cli, 'lock', 'run', path, '--', 'cat', join(path, 'owner.json'), '--', join(path, 'owner.json')],
    { encoding: 'utf8' },
  )
  expect(record).not.toContain('--')
  expect(JSON.parse(record.split('\n')[0]!)).toMatchObject({ meta: { command: `cat ${join(path, 'owner.json')}` } })
})
