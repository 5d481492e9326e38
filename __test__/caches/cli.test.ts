// @module-tag system
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { program, runAll } from '../support/cli.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { SECRET_ACCESS_KEY } from '../support/s3.js'
import { test } from '../support/temp.js'
import { digest, makeTree, noise } from '../support/trees.js'

async function cli(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; out: string; errors: string }> {
  const child = start(process.execPath, [program, 'cache', ...args], { env })
  const { code } = await child.ended
  return { code, out: child.lines.join('\n'), errors: child.stderr() }
}

describe('a folder', () => {
  test('exit code by outcome, --json in one line, human-readable reason and facts', async ({ memory }) => {
    const store = ['--store', `file://${join(memory, 'store')}`, '--key', 'site']
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    expect(await cli(['restore', into, ...store])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^miss in [\d.]+ m?s: nothing under the key[^\n]*$/),
    })
    const required = await cli(['restore', into, ...store, '--required', '--json'])
    expect(required.code).toBe(3)
    expect(JSON.parse(required.out)).toMatchObject({
      outcome: 'miss',
      reason: expect.stringMatching(/^nothing under the key/),
    })
    expect(await cli(['inspect', ...store])).toMatchObject({ code: 3, out: 'miss: nothing under the key' })
    const saved = await cli(['save', tree, ...store, '--json'])
    expect(saved.code).toBe(0)
    expect(JSON.parse(saved.out)).toMatchObject({ outcome: 'uploaded' })
    expect(await cli(['save', tree, ...store])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^unchanged in [\d.]+ m?s\n {2}files/),
    })
    expect((await cli(['restore', into, ...store])).code).toBe(0)
    expect(digest(into)).toEqual(digest(tree))
    writeFileSync(join(into, 'mine'), 'mine')
    expect(await cli(['restore', into, ...store])).toMatchObject({
      code: 6,
      out: expect.stringMatching(/^target-not-empty/),
    })
    expect((await cli(['restore', into, ...store, '--mode', 'merge'])).code).toBe(0)
    expect((await cli(['save', join(memory, 'absent'), ...store])).code).toBe(2)
    const found = JSON.parse((await cli(['inspect', ...store, '--json'])).out)
    expect(found).toMatchObject({ outcome: 'found', files: expect.any(Number), producer: { tool: 'warmswap' } })
    expect(await cli(['prune', ...store])).toMatchObject({ code: 0, out: expect.stringMatching(/^pruned/) })
    expect(JSON.parse((await cli(['probe', '--store', store[1]!, '--json'])).out)).toMatchObject({
      outcome: 'probed',
      writable: true,
      ranged: true,
      conditionalPut: true,
    })
    expect((await cli(['save', tree, ...store, '--read-only'])).code).toBe(3)
    writeFileSync(join(memory, 'store/site/current.json'), 'nonsense')
    expect((await cli(['restore', into, ...store, '--mode', 'replace'])).code).toBe(5)
    expect((await cli(['inspect', ...store])).code).toBe(5)
  })

  test('store, key and signature from the environment', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    const env = {
      WARMSWAP_STORE: `file://${join(memory, 'store')}`,
      WARMSWAP_KEY: 'site',
      WARMSWAP_HMAC_KEY: 'a secret of 16 bytes or more',
    }
    expect((await cli(['save', tree], env)).code).toBe(0)
    expect((await cli(['restore', join(memory, 'into')], env)).code).toBe(0)
    expect(
      (await cli(['restore', join(memory, 'other')], { ...env, WARMSWAP_HMAC_KEY: 'another secret of 16 bytes' })).code,
    ).toBe(5)
  })

  test('wrong arguments are exit code 2, and their errors contain no secret', ({ memory }) => {
    const store = ['--store', `file://${join(memory, 'store')}`, '--key', 'site']
    const into = join(memory, 'into')
    const url = `s3://bucket/prefix?secretAccessKey=${encodeURIComponent(SECRET_ACCESS_KEY)}`
    const wrong = [
      ['frobnicate', ...store],
      [],
      ['restore', '/', ...store],
      ['restore', into, '--key', 'site'],
      ['restore', ...store],
      ['restore', into, '--store', store[1]!],
      ['restore', into, 'another', ...store],
      ['inspect', into, ...store],
      ['save', into, ...store],
      ['save', memory, ...store, '--preset', 'npm'],
      ['prune', ...store, '--keep', 'two'],
      ['restore', into, '--store', url, '--key', 'site', '--bogus'],
      ['restore', into, '--store', url, '--key', 'site'],
      ['restore', into, '--store', 's3://bucket/%zz', '--key', 'site'],
    ]
    const results = runAll(wrong.map((args) => ['cache', ...args]))
    for (const [index, { code, out, errors }] of results.entries()) {
      const args = wrong[index] as string[]
      expect(code, args.join(' ')).toBe(2)
      expect(errors, args.join(' ')).not.toContain('    at ')
      for (const secret of [SECRET_ACCESS_KEY, encodeURIComponent(SECRET_ACCESS_KEY)])
        expect(out + errors).not.toContain(secret)
    }
    expect(readdirSync(memory)).toEqual([])
  })

  test('a tree with links that leave it is restored with the option that save and the refusal name', async ({
    memory,
  }) => {
    const store = ['--store', `file://${join(memory, 'store')}`]
    const tree = makeTree(join(memory, 'workspace'))
    symlinkSync('../../packages/own', join(tree, 'deep/own'))
    const absolute = makeTree(join(memory, 'venv'))
    symlinkSync('/usr/bin/python3', join(absolute, 'python'))
    const [saved, refused, restored, ...venv] = runAll([
      ['cache', 'save', tree, ...store, '--key', 'workspace'],
      ['cache', 'restore', join(memory, 'a'), ...store, '--key', 'workspace'],
      ['cache', 'restore', join(memory, 'a'), ...store, '--key', 'workspace', '--symlinks', 'relative'],
      ['cache', 'save', absolute, ...store, '--key', 'venv'],
      ['cache', 'restore', join(memory, 'b'), ...store, '--key', 'venv', '--symlinks', 'relative'],
      ['cache', 'restore', join(memory, 'b'), ...store, '--key', 'venv', '--symlinks', 'verbatim'],
    ])
    expect(saved).toMatchObject({ code: 0, out: expect.stringMatching(/^uploaded .*: .*--symlinks relative\n/) })
    expect(refused).toMatchObject({ code: 5, out: expect.stringMatching(/^refused .*Use --symlinks relative/) })
    expect(restored?.code).toBe(0)
    expect(digest(join(memory, 'a'))).toEqual(digest(tree))
    expect(venv.map(({ code }) => code)).toEqual([0, 5, 0])
    expect(venv[0]?.out).toContain('--symlinks verbatim')
    expect(venv[1]?.out).toContain('Use --symlinks verbatim')
    expect(digest(join(memory, 'b'))).toEqual(digest(absolute))
  })

  test('the options of save and restore reach the store', async ({ memory }) => {
    const store = ['--store', `file://${join(memory, 'store')}`]
    const at = [...store, '--key', 'site']
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    const [saved, ...others] = runAll([
      ['cache', 'save', tree, ...at, '--fingerprint', 'lock-1', '--level', '19', '--conditions', 'off', '--json'],
      ['cache', 'restore', into, ...at, '--expect', 'fingerprint=lock-2'],
      ['cache', 'restore', into, ...at, '--expect', 'version=1'],
      ['cache', 'restore', into, ...at, '--max-files', '3'],
      ['cache', 'restore', into, ...at, '--max-bytes', '1kB'],
      ['cache', 'save', tree, ...at, '--conditions', 'always'],
      [
        ...[
          'cache',
          'restore',
          into,
          ...store,
          '--key',
          'absent',
          '--fallback-key',
          'another',
          '--fallback-key',
          'site',
        ],
        ...['--expect', 'fingerprint=lock-1', '--expect', `platform=${process.platform}`, '--json'],
      ],
    ])
    expect(JSON.parse(saved?.out ?? '')).toMatchObject({
      outcome: 'uploaded',
      guard: 'none',
      bytes: expect.any(Number),
    })
    expect(others.map(({ code }) => code)).toEqual([5, 2, 5, 5, 2, 0])
    expect(others[0]?.out).toContain("--expect fingerprint is 'lock-2', but the generation has 'lock-1'")
    expect(others[1]?.errors).toContain("Invalid --expect: 'version=1'. Expected name=value")
    expect(others[2]?.out).toContain('--max-files')
    expect(others[3]?.out).toContain('--max-bytes')
    expect(others[4]?.errors).toContain("Invalid --conditions: 'always'. Expected")
    expect(JSON.parse(others[5]?.out ?? '')).toMatchObject({ outcome: 'restored', key: 'site' })
    const [again] = runAll([['cache', 'restore', into, ...at, '--json']])
    const { ticket } = JSON.parse(again?.out ?? '') as { ticket: string }
    writeFileSync(join(tree, 'more'), 'more')
    const [first, late, idle, pruned, removed, gone] = runAll([
      ['cache', 'save', tree, ...at, '--ticket', ticket],
      ['cache', 'save', into, ...at, '--ticket', ticket],
      ['cache', 'prune', ...at, '--keep', '2', '--older-than-ms', '0'],
      ['cache', 'prune', ...at, '--keep', '1', '--older-than-ms', '0'],
      ['cache', 'remove', ...at],
      ['cache', 'inspect', ...at],
    ])
    expect([first, late, idle, pruned, removed, gone].map((result) => result?.code)).toEqual([0, 6, 0, 0, 0, 3])
    expect(late?.out).toMatch(/^superseded/)
    expect(idle?.out).toBe('pruned\n  nothing to remove\n')
    expect(pruned?.out).toMatch(/^pruned\n {2}removed +1\n {4}site\/blobs\/\S+\n$/)
  })

  test('the ticket of a restore from a fallback key is of its first key', ({ memory }) => {
    const store = ['--store', `file://${join(memory, 'store')}`]
    const tree = makeTree(join(memory, 'tree'))
    const into = join(memory, 'into')
    const branch = [...store, '--key', 'branch']
    const restore = (to: string): { outcome: string; key: string; ticket: string } => {
      const [result] = runAll([['cache', 'restore', to, ...branch, '--fallback-key', 'main', '--json']])
      return JSON.parse(result?.out ?? '')
    }
    runAll([['cache', 'save', tree, ...store, '--key', 'main']])
    const { ticket, ...absent } = restore(into)
    expect(absent).toMatchObject({ outcome: 'restored', key: 'main' })
    const [other, made, late] = runAll([
      ['cache', 'save', into, ...store, '--key', 'main', '--ticket', ticket],
      ['cache', 'save', into, ...branch, '--ticket', ticket],
      ['cache', 'save', into, ...branch, '--ticket', ticket],
    ])
    expect(other).toMatchObject({
      code: 2,
      errors: expect.stringMatching(
        /^warmswap: Invalid --ticket: .* the key 'main'\. This ticket belongs to 'branch'\. .*\n$/,
      ),
    })
    expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^uploaded/) })
    expect(late).toMatchObject({ code: 6, out: expect.stringMatching(/^superseded/) })
    // The first key exists, but its data does not: the snapshot with its ticket repairs it.
    rmSync(join(memory, 'store/branch/blobs'), { recursive: true })
    const damaged = restore(join(memory, 'again'))
    expect(damaged).toMatchObject({ outcome: 'restored', key: 'main' })
    const [repaired, whole] = runAll([
      ['cache', 'save', join(memory, 'again'), ...branch, '--ticket', damaged.ticket],
      ['cache', 'restore', join(memory, 'whole'), ...branch, '--json'],
    ])
    expect(repaired?.out).toMatch(/^uploaded/)
    expect(JSON.parse(whole?.out ?? '')).toMatchObject({ outcome: 'restored', key: 'branch' })
  })

  test('--duplicates reject refuses an archive that has a path twice', ({ memory }) => {
    mkdirSync(join(memory, 'store'))
    const archive = join(memory, 'store/twice.tar')
    writeFileSync(join(memory, 'name'), 'one')
    execFileSync('tar', ['-cf', archive, '-C', memory, 'name'])
    writeFileSync(join(memory, 'name'), 'two')
    execFileSync('tar', ['-rf', archive, '-C', memory, 'name'])
    const restore = ['cache', 'restore', join(memory, 'into'), '--store', `file://${join(memory, 'store')}`]
    const results = runAll([
      [...restore, '--key', 'twice.tar', '--duplicates', 'reject'],
      [...restore, '--key', 'twice.tar'],
    ])
    expect(results.map(({ code }) => code)).toEqual([5, 0])
    expect(results[0]?.out).toContain("'name' twice")
    expect(readFileSync(join(memory, 'into/name'), 'utf8')).toBe('two')
  })

  test('a terminal sees a bar, and a pipe does not', async ({ memory }) => {
    const tree = makeTree(join(memory, 'tree'))
    for (let seed = 1; seed <= 40; seed += 1) writeFileSync(join(tree, `${seed}.bin`), noise(4 << 20, seed))
    const store = ['--store', `file://${join(memory, 'store')}`, '--key', 'site']
    const command = [process.execPath, program, 'cache', 'save', tree, ...store].map((word) => `'${word}'`).join(' ')
    const terminal = start('script', ['-qefc', command, '/dev/null'])
    expect(await terminal.ended).toMatchObject({ code: 0 })
    expect(terminal.lines.join('\n').replaceAll('\x1b', 'ESC')).toMatch(/ESC\[K(pack|upload) +.*\d+ files, [\d.]+ MB/)
    expect(terminal.lines.join('\n')).toMatch(/uploaded in [\d.]+ m?s/)
    expect((await cli(['restore', join(memory, 'into'), ...store])).errors).not.toContain('\x1b')
  })
})

describe('a store in trouble', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())

  const env = { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: SECRET_ACCESS_KEY }
  const at = (endpoint: string): string[] => [
    '--store',
    `s3://bucket/cli?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`,
    '--key',
    'site',
  ]

  test('a store that cannot be reached is exit code 4 for every command, and silence is 4 at the deadline', async ({
    memory,
  }) => {
    const tree = makeTree(join(memory, 'tree'))
    for (const args of [['restore', join(memory, 'into')], ['save', tree], ['inspect'], ['prune'], ['probe']]) {
      const { code, out } = await cli([...args, ...at('http://127.0.0.1:1').slice(0, args[0] === 'probe' ? 2 : 4)], env)
      expect(out, args[0]).toMatch(/^unavailable.*: /)
      expect(code, args[0]).toBe(4)
    }
    server.fault = { when: () => true, what: 'stall-after-accept' }
    for (const command of ['inspect', 'probe']) {
      expect(
        await cli([command, ...at(server.endpoint).slice(0, command === 'probe' ? 2 : 4), '--deadline-ms', '500'], env),
      ).toMatchObject({ code: 4, out: expect.stringMatching(/^timeout/) })
    }
    server.fault = { when: () => true, what: 'denied' }
    expect((await cli(['inspect', ...at(server.endpoint)], env)).code).toBe(1)
    server.fault = undefined
  })

  test('--conditions required: a store without conditional writes is exit code 6, and the key is as it was', async ({
    memory,
  }) => {
    server.intercept = ({ method, headers }, response) => {
      if (method !== 'PUT' || !('if-match' in headers || 'if-none-match' in headers)) return false
      response.writeHead(501).end('<Error><Code>NotImplemented</Code><Message>m</Message></Error>')
      return true
    }
    const save = ['save', makeTree(join(memory, 'tree'), 3), ...at(server.endpoint)]
    expect(await cli([...save, '--conditions', 'required'], env)).toMatchObject({
      code: 6,
      out: expect.stringMatching(/^unguarded .*--conditions is 'required'/),
    })
    expect([...server.objects.keys()].filter((path) => path.includes('cli/site'))).toEqual([])
    expect(await cli(save, env)).toMatchObject({ code: 0, out: expect.stringMatching(/guard +none/) })
    server.intercept = undefined
    expect((await cli(['remove', ...at(server.endpoint)], env)).code).toBe(0)
  })

  test('probe with credentials that the store does not accept is exit code 1, and the reason names the code', async () => {
    server.intercept = (_, response) => {
      response.writeHead(403).end('<Error><Code>InvalidAccessKeyId</Code><Message>m</Message></Error>')
      return true
    }
    const denied = await cli(['probe', ...at(server.endpoint).slice(0, 2)], env)
    server.intercept = undefined
    expect(denied).toMatchObject({ code: 1, out: expect.stringMatching(/^denied: .*InvalidAccessKeyId/) })
    expect(denied.out).not.toContain('ListBucket')
  })

  test.for([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    '%s in the middle of an upload aborts it: no part stays, the key is as it was',
    async ([name, code], { memory }) => {
      const tree = makeTree(join(memory, 'tree'))
      writeFileSync(join(tree, 'noise'), noise(24 << 20))
      const arrived = new Promise<void>((resolve) => {
        server.fault = {
          when: ({ query }) => {
            const isSecond = query.get('partNumber') === '2'
            if (isSecond) resolve()
            return isSecond
          },
          what: 'stall-after-accept',
        }
      })
      const args = ['cache', 'save', tree, ...at(server.endpoint), '--idle-ms', '60s']
      const child = start(process.execPath, [program, ...args], { env })
      await arrived
      // Off a terminal, the log shows that the command is alive, even if nothing progresses.
      if (name === 'SIGINT')
        await expect
          .poll(() => child.stderr(), { timeout: 20_000 })
          .toMatch(/^warmswap: upload[^\n]*, \d+ files, .*B$/m)
      server.requests.length = 0
      child.process.kill(name)
      expect((await child.ended).code).toBe(code)
      expect(child.lines[0]).toMatch(/^aborted/)
      await expect.poll(() => server.requests.map(({ method }) => method), { timeout: 10_000 }).toContain('DELETE')
      expect([...server.objects.keys()].filter((path) => path.startsWith('cli/site'))).toEqual([])
      server.fault = undefined
    },
  )
})
