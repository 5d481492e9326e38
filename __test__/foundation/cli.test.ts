import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
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
