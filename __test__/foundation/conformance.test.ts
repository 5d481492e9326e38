// @module-tag system
/** `warmswap conformance` with warmswap itself, Python and Go; and each case against a program that has its fault. */

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { repository } from '../support/paths.js'

interface Report {
  ok: boolean
  passed: number
  failed: number
  skipped: number
  results: { id: string; outcome: string; reason?: string }[]
}

const programs = join(repository, '__test__/programs')
const javascript = [process.execPath, join(programs, 'conformance/javascript.mjs')]

function conformance(command: string[], only: string[] = [], env: Record<string, string> = {}): Report {
  const args = ['dist/cli.js', 'conformance', '--json', ...only.flatMap((text) => ['--only', text]), '--', ...command]
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: repository,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  expect(stderr).toBe('')
  return JSON.parse(stdout) as Report
}

const failures = ({ results }: Report): unknown[] => results.filter(({ outcome }) => outcome === 'failed')

/** Debian's package of BLAKE3 for Go, below .cache. */
function goPath(): string | undefined {
  const home = join(repository, '.cache/go')
  const sources = join(home, 'usr/share/gocode')
  try {
    if (existsSync(sources)) return sources
    execFileSync('go', ['version'], { stdio: 'ignore' })
    mkdirSync(home, { recursive: true })
    const packages = ['golang-lukechampine-blake3-dev', 'golang-github-klauspost-cpuid-dev']
    execFileSync('apt-get', ['-qq', 'download', ...packages], { cwd: home, stdio: 'ignore' })
    for (const name of readdirSync(home).filter((each) => each.endsWith('.deb')))
      execFileSync('dpkg', ['-x', name, '.'], { cwd: home })
    return sources
  } catch (error) {
    console.warn(`skipped: no Go with BLAKE3, so publishing is not tried from another language: ${String(error)}`)
    return undefined
  }
}

describe('conformance', { timeout: 480_000 }, () => {
  test('every case passes with the implementation that ships', () => {
    const report = conformance(javascript)
    expect(failures(report)).toEqual([])
    expect([report.ok, report.passed, report.skipped]).toEqual([true, 52, 0])
  })

  test.each([
    ['read-without-pin', 'bundles-11'],
    ['pin-without-lock', 'bundles-12'],
    ['release-nothing', 'bundles-13'],
    ['publish-number', 'bundles-15'],
    ['no-lock', 'locks-01'],
    ['publish-always', 'ensure-08'],
  ])('the fault %s fails case %s', (bug, id) => {
    const report = conformance(javascript, [id], { CONFORMANCE_BUG: bug })
    expect(report.results.map(({ id, outcome }) => [id, outcome])).toEqual([[id, 'failed']])
    expect(report.ok).toBe(false)
  })

  test('the Python program passes the cases of what it implements', () => {
    const report = conformance(['python3', join(programs, 'bundles_reader.py'), 'conformance'], ['bundles', 'ensure'])
    expect(failures(report)).toEqual([])
    expect(report.passed).toBe(18 + 13)
  })

  test('the Go program reads, pins and publishes bundles', ({ skip }) => {
    const path = goPath()
    if (path === undefined) return skip()
    const sources = join(programs, 'conformance')
    const program = join(repository, 'build/conformance-bundles')
    mkdirSync(join(repository, 'build'), { recursive: true })
    const files = ['bundles.go', 'publish.go'].map((name) => join(sources, name))
    const env = { ...process.env, GOPATH: path, GO111MODULE: 'off', GOCACHE: join(repository, '.cache/go/cache') }
    execFileSync('go', ['build', '-o', program, ...files], { env })
    const report = conformance([program], ['bundles'])
    expect(failures(report)).toEqual([])
    expect(report.passed).toBe(20)
  })

  test.each([
    ['a program that does not exist', ['/no/such/program']],
    ['a program that ends', ['false']],
    ['a program that answers with something else', ['sh', '-c', 'read line; echo hello; sleep 9']],
  ])('%s is an error', (_, command) => {
    const args = ['dist/cli.js', 'conformance', '--timeout', '1s', '--', ...command]
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: repository, encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toMatch(/is not a conformance program: .*\[ERR_NOT_READY\]/)
  })
})
