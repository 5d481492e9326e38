/**
 * The guarantees of the Vite plugins, as checks that fail with seeded bugs. Each takes the plugins, so that they can be
 * broken ones.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { header, rawRequest } from './raw-request.js'
import {
  type Answer,
  Calls,
  CHUNK_ENTRY,
  type ChunkEntry,
  ENTRY,
  type Entry,
  type Fixture,
  type FixtureOptions,
  failingPlugin,
  type Mode,
  openFixture,
} from './vite.js'

export type Plugins = typeof import('warmswap/vite')

async function withFixture<T>(options: FixtureOptions, work: (fixture: Fixture) => Promise<T>): Promise<T> {
  const fixture = await openFixture(options)
  try {
    return await work(fixture)
  } finally {
    await fixture.close()
  }
}

/** state/works-without-the-addon across a re-optimization: the portable build, evaluated by Vite and evaluated again. */
export async function portableStateIsKept(
  { default: warmswap, importWithRecovery }: Plugins,
  mode: Mode,
): Promise<void> {
  await withFixture(
    { ...mode, context: 'kept', plugins: [warmswap({ state: { backend: 'js' } })] },
    async (fixture) => {
      const before = await fixture.entry()
      await before.count(41)
      const [identity, evaluations] = [await before.identity(), await before.evaluations()]
      const answer = await importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, {
        use: (entry) => entry.handle('route-b'),
      })
      expect(answer).toMatchObject({ store: { user: 'ada' }, counter: 41 })
      const after = await fixture.entry()
      expect((await after.evaluations()).entry).toBeGreaterThan(evaluations.entry)
      expect(await after.identity()).toEqual(identity)
      const { backend } = await fixture.runner.import<{ backend(): unknown }>('/src/one-copy.js')
      expect(await backend()).toBe('js')
    },
  )
}

/** state/one-copy: one copy, also from inside a pre-bundled dependency. */
export async function thereIsOneCopy({ default: warmswap }: Plugins, mode: Mode): Promise<void> {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  await withFixture(
    { ...mode, context: 'plain', plugins: [warmswap()], include: ['dep-x'], installed: true },
    async (fixture) => {
      const one = await fixture.runner.import<{ isOne(): unknown; backend(): unknown }>('/src/one-copy.js')
      expect(await one.isOne()).toBe(true)
      expect(await one.backend()).toBe('native')
      const bundle = bundledText(fixture)
      expect(bundle).toContain('warmswap/state')
      expect(bundle).not.toContain('warmswap/root@')
    },
  ).finally(() => warn.mockRestore())
}

/** The optimizer's output. */
export function bundledText(fixture: Fixture): string {
  const folder = join(fixture.root, 'node_modules/.vite/deps_ssr')
  const files = readdirSync(folder).filter((file) => file.endsWith('.js'))
  return files.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n')
}

/**
 * state/stale-request-is-recovered: a recovery evaluates nothing more often than Vite's own reload does, and leaves `import.meta.hot.data` alone.
 * By a deleted chunk, because that fails also where Vite is silent about what is outdated.
 */
export async function recoveryIsGentle({ default: warmswap, importWithRecovery }: Plugins, mode: Mode): Promise<void> {
  await withFixture({ ...mode, context: 'kept', include: ['dep-c'], plugins: [warmswap()] }, async (fixture) => {
    const before = await fixture.runner.import<ChunkEntry>(CHUNK_ENTRY)
    const since = await before.hotSince()
    await importWithRecovery<ChunkEntry, unknown>(fixture.ssr, CHUNK_ENTRY, { use: (entry) => entry.handle() })
    expect(
      await (await fixture.runner.import<ChunkEntry>(CHUNK_ENTRY)).hotSince(),
      'expected hot.data to be kept',
    ).toBe(since)
  })
  if (mode.silent) return
  await withFixture({ ...mode, context: 'kept', plugins: [warmswap()] }, async (fixture) => {
    const first = await (await fixture.entry()).handle('route-a')
    const answer = await importWithRecovery<Entry, Answer>(fixture.ssr, ENTRY, {
      use: (entry) => entry.handle('route-b'),
    })
    expect(answer.evaluations.shared - first.evaluations.shared).toBeLessThanOrEqual(1)
  })
}

/** state/recovery-is-bounded: what cannot be healed fails within the bounds, naming the id and both hashes. */
export async function hopelessEnds({ default: warmswap, importWithRecovery }: Plugins, mode: Mode): Promise<void> {
  await withFixture({ ...mode, context: 'kept', plugins: [warmswap()] }, async (fixture) => {
    let attempts = 0
    const missing = `${fixture.root}/node_modules/.vite/deps_ssr/chunk-GONE.js?v=0badc0de`
    const use = (): Promise<unknown> => {
      attempts += 1
      if (attempts > 10) throw new Error('it goes on for ever')
      return fixture.runner.import(missing)
    }
    const error = (await importWithRecovery(fixture.ssr, ENTRY, { use }).catch((reason: unknown) => reason)) as Error
    expect(error).toMatchObject({ code: 'ERR_NOT_READY' })
    expect(error.message).toContain(missing)
    expect(error.message).toContain('hash 0badc0de')
    expect(error.message).toContain(`current is ${fixture.ssr.depsOptimizer?.metadata.browserHash}`)
    expect(attempts).toBe(3)
  })
}

/** state/unsafe-methods-run-once: what may have had effects is not repeated. */
export async function unsafeIsRefused({ default: warmswap }: Plugins, mode: Mode): Promise<void> {
  const calls = new Calls()
  await withFixture(
    { ...mode, context: 'kept', plugins: [warmswap(), failingPlugin(calls, { reads: true })] },
    async (fixture) => {
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
        const response = await fetch(await fixture.url(), { method, body: 'order=1' })
        expect(response.status, method).toBe(503)
        expect(response.headers.get('retry-after')).toBe('1')
      }
      expect(calls.methods).toEqual(['POST', 'PUT', 'PATCH', 'DELETE'])
    },
  )
}

/** state/redirects-stay-on-the-origin: no request makes us send the client elsewhere. */
export async function redirectStaysHere({ staleDepRecovery }: Plugins, mode: Mode): Promise<void> {
  const plugins = [staleDepRecovery({ onUnsafe: 'redirect-307' }), failingPlugin(new Calls())]
  await withFixture({ ...mode, context: 'kept', plugins }, async (fixture) => {
    const post = async (target: string): Promise<string> =>
      rawRequest(await fixture.url(), { method: 'POST', target, headers: { 'Content-Length': '0' } })
    const honest = await post('/orders?id=1')
    expect(honest).toMatch(/^HTTP\/1\.1 307/)
    expect(header(honest, 'Location')).toBe('/orders?id=1')
    for (const target of [
      '//evil.example/x',
      '/\\evil.example',
      '\\\\evil.example',
      '/.//evil.example',
      'http://evil.example/',
      '/%0d%0aSet-Cookie:a=b',
    ]) {
      const answer = await post(target)
      const location = header(answer, 'Location')
      if (location === undefined) expect(answer, target).toMatch(/^HTTP\/1\.1 (503|400|403|404)/)
      else expect(new URL(location, 'http://localhost').origin, target).toBe('http://localhost')
      expect(header(answer, 'Set-Cookie'), target).toBeUndefined()
    }
  })
}

/** state/redirects-stay-on-the-origin: a redirect is a new request, and a permanently stale dependency must not redirect endlessly. */
export async function redirectsEnd({ staleDepRecovery }: Plugins, mode: Mode): Promise<void> {
  const calls = new Calls()
  await withFixture(
    { ...mode, context: 'kept', plugins: [staleDepRecovery({ onUnsafe: 'redirect-307' }), failingPlugin(calls)] },
    async (fixture) => {
      // The optimizer has committed its cold start: a commit in between starts the count again.
      await fixture.entry()
      const response = await fetch(await fixture.url(), { method: 'POST' }).catch((error: Error) =>
        Promise.reject(error.cause),
      )
      expect(response.status).toBe(503)
      expect(calls.count).toBe(3)
    },
  )
}
