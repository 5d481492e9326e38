// `warmswap lock why|ls` of a store: the holder, its phase, its age and the lease time left as observed.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCache, prewarm, type StoreLock, type StoreUrl } from 'warmswap'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { program, run, runAll } from '../support/cli.js'
import { startFaultServer, type FaultServer } from '../support/fault-server.js'
import { test } from '../support/temp.js'

/** Starts a run that lasts until `end` is called. */
async function startRun(store: StoreUrl, made: string, leaseTtlMs: number): Promise<{ end(): Promise<void> }> {
  let end = (): void => {}
  const over = new Promise<void>((resolve) => (end = resolve))
  let began = (): void => {}
  const running = new Promise<void>((resolve) => (began = resolve))
  const job = {
    isReady: () => existsSync(made),
    async run(lock: StoreLock): Promise<boolean> {
      lock.progress('compiling')
      began()
      await over
      writeFileSync(made, '')
      return true
    },
  }
  const call = prewarm(store, job, { leaseTtlMs, metadata: { job: 7 } })
  await running
  return {
    async end() {
      end()
      await call
    },
  }
}

describe('in a folder', () => {
  test('fleet/observed-leases: why names the holder of a run, its phase and age, and sees that it renews its lease', async ({
    memory,
  }) => {
    const root = join(memory, 'store')
    const store = `file://${root}/templates/base` as StoreUrl
    expect(run('lock', 'why', store)).toEqual({
      code: 0,
      out: `${store} is free: the next caller acquires it immediately.\n`,
      errors: '',
    })
    const running = await startRun(store, join(memory, 'made'), 1_500)
    const record = join(root, 'templates/base/.warmswap-ensure/prewarm.json')
    await expect.poll(() => JSON.parse(readFileSync(record, 'utf8')).phase).toBe('compiling')
    // In this process, a synchronous call would stop nothing: the lease is renewed by a native thread.
    const [why, json, list] = runAll([
      ['lock', 'why', store],
      ['lock', 'why', '--json', '--observe-ms', '0', store],
      ['lock', 'ls', `file://${root}`],
    ])
    expect(why?.out).toMatch(
      new RegExp(
        `^${store} is held by pid ${process.pid} on \\S+, since \\S+Z, doing: compiling, for [\\d.]+ m?s\\. That process is alive: it renewed its lease while this command watched\\.`,
      ),
    )
    const [facts] = JSON.parse(json?.out ?? '[]')
    expect(facts).toMatchObject({
      path: store,
      kind: 'prewarm',
      state: 'held?',
      holder: { pid: process.pid, generation: 1, metadata: { job: 7 }, progress: { phase: 'compiling' } },
      explanation: expect.stringContaining('takes over in at most'),
    })
    expect(facts.ageMs).toBeGreaterThan(0)
    expect(facts.leaseLeftMs).toBeGreaterThan(0)
    expect(facts.leaseLeftMs).toBeLessThanOrEqual(1_875)
    expect(list?.out).toMatch(new RegExp(`^held\\? {2}${store} {2}pid ${process.pid} on .*compiling`))
    await running.end()
    expect(run('lock', 'why', store).out).toMatch(/ is free: pid \d+ .* has run the job\. The next caller checks/)
  })

  test('fleet/observed-leases: a holder that is silent has less and less of its lease left', async ({ memory }) => {
    const store = `file://${memory}/store/base`
    const folder = join(memory, 'store/base/.warmswap-ensure')
    mkdirSync(folder, { recursive: true })
    const record = { v: 1, token: 'ab', seq: 1, ttlMs: 4_000, holder: { host: 'pod-1', pid: 7 }, state: 'building' }
    writeFileSync(join(folder, 'prewarm.json'), JSON.stringify({ ...record, at: '2026-01-01T00:00:00.000Z' }))
    const [why, json] = runAll([
      ['lock', 'why', store],
      ['lock', 'why', '--json', '--observe-ms', '300', store],
    ])
    expect(why?.out).toMatch(
      /is held by pid 7 on pod-1, for \d+ d\. Its lease did not change for [\d.]+ s\. If that stays so/,
    )
    const [facts] = JSON.parse(json?.out ?? '[]')
    expect([facts.state, facts.leaseLeftMs <= 4_700, facts.observedMs >= 300]).toEqual(['held?', true, true])
  })

  test('fleet/observed-leases: the builds of a key are listed with their fingerprints, and a failure with its message', async ({
    memory,
  }) => {
    const root = join(memory, 'store')
    const cache = openCache(`file://${root}`)
    const build = (name: string) => ({
      fingerprint: name,
      into: join(memory, name),
      build({ dir }: { dir: string }) {
        if (name === 'broken') throw new Error('no space')
        writeFileSync(join(dir, 'file'), 'built')
      },
    })
    await cache.ensure('shop/deps', build('node22'))
    await expect(cache.ensure('shop/deps', build('broken'))).rejects.toThrow('no space')
    writeFileSync(join(root, 'shop/deps/.warmswap-ensure', `${'0'.repeat(64)}.json`), '{"v":2}')
    const [why, list] = runAll([
      ['lock', 'why', `file://${root}/shop/deps`],
      ['lock', 'ls', '--json', `file://${root}/`],
    ])
    expect(why?.out).toContain('The build of file://')
    expect(why?.out).toMatch(/with the fingerprint 'node22' is ready: pid \d+ .* has built it/)
    expect(why?.out).toMatch(/with the fingerprint 'broken' is free: the run of .* failed with 'no space'/)
    expect(why?.out).toMatch(/cannot be read by this version/)
    const states = JSON.parse(list?.out ?? '[]').map(({ state }: { state: string }) => state)
    expect(states.sort()).toEqual(['error', 'failed', 'ready'])
    expect(run('lock', 'ls', `file://${root}/shop`).out.split('\n').length).toBe(4)
  })

  test('fleet/wrong-arguments: commands of this machine refuse a store, and options of a store refuse a path', ({
    memory,
  }) => {
    const results = runAll([
      ['lock', 'sweep', 's3://bucket/prefix'],
      ['lock', 'run', 's3://bucket/prefix/key', '--', 'true'],
      ['lock', 'ls', '--observe-ms', '1s', memory],
      ['lock', 'why', '--observe-ms', '1s', join(memory, 'a.lock')],
      ['lock', 'why', 's3://bucket'],
      ['lock', 'why', 'redis://host/key'],
      ['lock', 'ls', 's3://key:secret@bucket/prefix'],
    ])
    expect(results.map(({ code }) => code)).toEqual([2, 2, 2, 2, 2, 2, 2])
    expect(results.map(({ errors }) => errors).join('')).not.toContain('secret@')
  })
})

describe('in a bucket', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())

  test('fleet/observed-leases: a bucket is listed, and without the permission to list, why reads the lease of its key', async ({
    memory,
  }) => {
    const { bucket, region, endpoint, accessKeyId, secretAccessKey } = server.store()
    const url = (path: string): string =>
      `s3://${bucket}/p${path}?region=${region}&endpoint=${encodeURIComponent(endpoint)}`
    const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
    // The server runs in this process: the command has to run concurrently with it.
    const lock = async (...args: string[]): Promise<{ code: number | null; out: string; errors: string }> => {
      const child = start(process.execPath, [program, 'lock', ...args], { env })
      const { code } = await child.ended
      return { code, out: child.lines.join('\n'), errors: child.stderr() }
    }
    const made = join(memory, 'made')
    const job = { isReady: () => existsSync(made), run: () => writeFileSync(made, '') ?? true }
    await prewarm(server.store('p/base'), job)
    expect((await lock('ls', url(''))).out).toMatch(new RegExp(`^ready {2}s3://${bucket}/p/base {2}pid `))
    server.fault = { what: 'denied', when: ({ query }) => query.has('list-type') }
    expect(await lock('why', url('/base'))).toMatchObject({
      code: 0,
      out: expect.stringContaining(`s3://${bucket}/p/base is free: pid `),
    })
    expect(await lock('ls', url(''))).toMatchObject({ code: 1, errors: expect.stringContaining('403') })
    server.fault = undefined
  })
})
