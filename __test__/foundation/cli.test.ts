import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const cli = join(repository, 'dist/cli.js')
const warmswap = (...args: string[]): string => execFileSync(process.execPath, [cli, ...args], { encoding: 'utf8' })

test('--version prints the version of the package', () => {
  expect(warmswap('--version').trim()).toBe(JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version)
})

test('doctor tells the filesystem of a directory and which guarantees hold there', ({ memory }) => {
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

test('doctor of a directory that is not there ends with its name', () => {
  const result = spawnSync(process.execPath, [cli, 'doctor', '/nowhere'], { encoding: 'utf8' })
  expect(result.status).toBe(1)
  expect(result.stderr).toMatch(/'\/nowhere'.*\[ERR_IO\]/)
})

test('an unknown command is named, and the known ones are listed', () => {
  const result = spawnSync(process.execPath, [cli, 'frobnicate'], { encoding: 'utf8' })
  expect(result.status).toBe(2)
  expect(result.stderr).toMatch(/unknown command 'frobnicate'/)
  expect(result.stderr).toMatch(/warmswap doctor/)
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
