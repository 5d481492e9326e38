// @module-tag system
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { linksOf } from '../support/docs.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const npm = (cwd: string, ...args: string[]): string =>
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd, encoding: 'utf8' })
const packed = (directory: string, to: string): string =>
  join(to, npm(directory, 'pack', '--pack-destination', to).trim().split('\n').at(-1) as string)

/** An empty folder with the packed package, and its platform package if asked for. */
function install(disk: string, withPlatform: boolean): string {
  const user = join(disk, 'user')
  mkdirSync(user)
  writeFileSync(join(user, 'package.json'), '{ "name": "user", "private": true, "type": "module" }')
  const tarballs = [packed(repository, disk)]
  if (withPlatform) {
    const platform = join(disk, 'platform')
    cpSync(join(repository, 'npm/linux-x64-gnu'), platform, { recursive: true })
    cpSync(join(repository, 'dist/warmswap.linux-x64-gnu.node'), join(platform, 'warmswap.linux-x64-gnu.node'))
    tarballs.push(packed(platform, disk))
  }
  npm(user, 'install', '--offline', '--legacy-peer-deps', ...tarballs)
  return user
}

test('the packed package and its platform package work from an empty folder, every export of it', {
  timeout: 180_000,
}, ({ disk }) => {
  const user = install(disk, true)
  const { exports } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
    exports: Record<string, unknown>
  }
  // Users install the peer dependencies themselves.
  for (const peer of ['vite', 'vitest', 'esbuild'])
    cpSync(join(repository, 'node_modules', peer), join(user, 'node_modules', peer), { recursive: true })
  const names = Object.keys(exports).filter((name) => !name.endsWith('.json') && name !== './vitest')
  for (const name of names) {
    const specifier = `warmswap${name.slice(1)}`
    const script = `import * as all from '${specifier}'; console.log(Object.keys(all).length)`
    expect(
      Number(execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: user, encoding: 'utf8' })),
      specifier,
    ).toBeGreaterThan(0)
  }
  expect(existsSync(join(user, 'node_modules/warmswap/src'))).toBe(false)
  const installed = join(user, 'node_modules/warmswap')
  const shipped = readdirSync(installed, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'))
  const links = [...shipped, 'llms.txt'].flatMap((page) => linksOf(installed, page))
  expect(links.length).toBeGreaterThan(100)
  expect(links.filter(({ file }) => !existsSync(join(installed, file)))).toEqual([])
  const version = execFileSync(join(user, 'node_modules/.bin/warmswap'), ['--version'], { encoding: 'utf8' })
  expect(version.trim()).toBe(JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version)
})

test('without the platform package one message names package, platform and libc', ({ disk }) => {
  const user = install(disk, false)
  const script = `import('warmswap').then(({ openBundles }) => openBundles('/dev/shm/none')).catch((error) => console.log(error.code + ' ' + error.message))`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: user, encoding: 'utf8' })
  expect(output).toMatch(
    /^ERR_UNSUPPORTED warmswap has no native addon for this machine: the package 'warmswap-linux-x64-gnu'/,
  )
  expect(output).toContain('platform linux, architecture x64, libc gnu')
  expect(output).toContain('npm install warmswap-linux-x64-gnu')
})

test('the platform packages are those of the list of targets', () => {
  execFileSync(process.execPath, ['scripts/platform-packages.js', '--check'], { cwd: repository })
})
