// cache.ensure(): one caller builds, the others wait and restore; whatever goes wrong, there is one result or a named
// reason, and the target is unchanged after every outcome that is not a success.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type EnsureEvent, type EnsureLock, type EnsureOptions, openCache } from 'warmswap'
import { afterAll, beforeAll, beforeEach, describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { program } from '../support/cli.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { test } from '../support/temp.js'

const FINGERPRINT = 'lock file 1'

/** Options of a call whose build writes one file. */
function call(into: string, options: Partial<EnsureOptions> = {}): EnsureOptions {
  return {
    fingerprint: FINGERPRINT,
    into,
    build: ({ dir }) => writeFileSync(join(dir, 'file'), 'built'),
    ...options,
  }
}

/** A promise and what settles it. */
function signalled(): { promise: Promise<void>; done: () => void } {
  let done = (): void => {}
  const promise = new Promise<void>((resolve) => (done = resolve))
  return { promise, done }
}

/** Whether nothing but the given names is in the folder: no stage is left. */
async function expectNames(folder: string, names: string[]): Promise<void> {
  await expect
    .poll(() =>
      readdirSync(folder)
        .filter((name) => !name.startsWith('.warmswap-stamp'))
        .sort(),
    )
    .toEqual(names)
}

const recordIn = (store: string): string => {
  const folder = join(store, 'site/.warmswap-ensure')
  return join(folder, readdirSync(folder)[0] as string)
}

describe('in a folder', () => {
  test('fleet/one-build: of eight callers one builds, and the others restore its result', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    let builds = 0
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        cache.ensure(
          'site',
          call(join(memory, `into-${index}`), {
            ttlMs: 3_000,
            build({ dir }) {
              builds += 1
              writeFileSync(join(dir, 'file'), `build ${builds}`)
            },
          }),
        ),
      ),
    )
    expect(builds).toBe(1)
    expect(results.map(({ role }) => role).sort()).toEqual(['built', ...Array.from({ length: 7 }, () => 'restored')])
    expect(new Set(results.map(({ generation }) => generation)).size).toBe(1)
    for (let index = 0; index < 8; index += 1)
      expect(readFileSync(join(memory, `into-${index}`, 'file'), 'utf8')).toBe('build 1')
    const again = await cache.ensure('site', call(join(memory, 'into-0')))
    expect(again).toMatchObject({ role: 'restored', restore: { outcome: 'unchanged' } })
  })

  test('fleet/own-fingerprint: fingerprints that alternate under one key are each built once', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const into = join(memory, 'into')
    const builds: string[] = []
    for (const fingerprint of ['one', 'other', 'one', 'other']) {
      const build: EnsureOptions['build'] = ({ dir }) => {
        builds.push(fingerprint)
        writeFileSync(join(dir, 'file'), fingerprint)
      }
      await cache.ensure('site', call(into, { fingerprint, build, mode: 'replace' }))
      expect(readFileSync(join(into, 'file'), 'utf8')).toBe(fingerprint)
    }
    expect(builds).toEqual(['one', 'other'])
    expect(readdirSync(join(memory, 'store/site/.warmswap-ensure'))).toHaveLength(2)
    expect(await cache.restore({ key: 'site', into: join(memory, 'plain') })).toMatchObject({ outcome: 'miss' })
    expect(await cache.remove('site')).toEqual({ outcome: 'removed' })
    expect(readdirSync(join(memory, 'store/site/.warmswap-ensure'))).toEqual([])
  })

  test('fleet/failures-are-shared: a failed build fails its caller with its own error and the waiters with its message', async ({
    memory,
  }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const [building, waiting] = [signalled(), signalled()]
    const failure = new Error('the compiler failed')
    const first = cache.ensure(
      'site',
      call(join(memory, 'first'), {
        ttlMs: 3_000,
        async build({ dir }) {
          writeFileSync(join(dir, 'half'), 'half')
          building.done()
          await waiting.promise
          throw failure
        },
      }),
    )
    const failed = expect(first).rejects.toBe(failure)
    await building.promise
    const onEvent = ({ kind }: EnsureEvent): void => void (kind === 'waiting' && waiting.done())
    const second = cache.ensure('site', call(join(memory, 'second'), { ttlMs: 3_000, onEvent }))
    await expect(second).rejects.toThrow('the compiler failed')
    await failed
    await expectNames(memory, ['store'])
    // A caller that comes later builds.
    expect(await cache.ensure('site', call(join(memory, 'third')))).toMatchObject({ role: 'built' })
  })

  test("fleet/failures-are-shared: with onFailure 'retry' a waiter builds after a failed build", async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const [building, waiting] = [signalled(), signalled()]
    const first = cache.ensure(
      'site',
      call(join(memory, 'first'), {
        ttlMs: 3_000,
        async build() {
          building.done()
          await waiting.promise
          throw new Error('no')
        },
      }),
    )
    const failed = expect(first).rejects.toThrow('no')
    await building.promise
    const onEvent = ({ kind }: EnsureEvent): void => void (kind === 'waiting' && waiting.done())
    const options = call(join(memory, 'second'), { ttlMs: 3_000, onEvent, onFailure: 'retry' })
    expect(await cache.ensure('site', options)).toMatchObject({ role: 'built' })
    await failed
  })

  test('fleet/deadline-builds-alone: a waiter whose deadline passes builds alone and says why; the builder publishes', async ({
    memory,
  }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const [building, over] = [signalled(), signalled()]
    const first = cache.ensure(
      'site',
      call(join(memory, 'first'), {
        async build({ dir, lock }) {
          lock.progress('compiling')
          building.done()
          await over.promise
          lock.assertHeld()
          writeFileSync(join(dir, 'file'), 'published')
        },
      }),
    )
    await building.promise
    const alone = await cache.ensure('site', call(join(memory, 'second'), { deadlineMs: 500 }))
    expect(alone).toMatchObject({ role: 'alone', reason: expect.stringContaining(`process ${process.pid}`) })
    expect(readFileSync(join(memory, 'second/file'), 'utf8')).toBe('built')
    over.done()
    expect(await first).toMatchObject({ role: 'built' })
    expect(await cache.ensure('site', call(join(memory, 'third')))).toMatchObject({ role: 'restored' })
    expect(readFileSync(join(memory, 'third/file'), 'utf8')).toBe('published')
  })

  test('fleet/abort-releases: an aborted build gives up its lease, and the next caller builds', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const controller = new AbortController()
    const reason = new Error('the pod is stopped')
    const aborted = cache.ensure(
      'site',
      call(join(memory, 'first'), {
        signal: controller.signal,
        build: ({ signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason))
            controller.abort(reason)
          }),
      }),
    )
    await expect(aborted).rejects.toBe(reason)
    // The lease is 30 s: without the release this would wait.
    expect(await cache.ensure('site', call(join(memory, 'second')))).toMatchObject({ role: 'built' })
    await expectNames(memory, ['second', 'store'])
  })

  test('fleet/result-is-verified: a result whose blob no longer exists, and one that is damaged, are built again', async ({
    memory,
  }) => {
    const store = join(memory, 'store')
    const cache = openCache(`file://${store}`)
    await cache.ensure('site', call(join(memory, 'first')))
    const blobs = join(store, 'site/blobs')
    const blob = (): string => join(blobs, readdirSync(blobs)[0] as string)
    rmSync(blob())
    expect(await cache.ensure('site', call(join(memory, 'second')))).toMatchObject({ role: 'built' })
    writeFileSync(blob(), readFileSync(blob()).fill(0, 20, 40))
    expect(await cache.ensure('site', call(join(memory, 'third')))).toMatchObject({ role: 'built' })
    expect(await cache.ensure('site', call(join(memory, 'fourth')))).toMatchObject({ role: 'restored' })
  })

  test('fleet/pruned-results-are-built-again: prune() removes the results of a key', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    await cache.ensure('site', call(join(memory, 'first')))
    const { outcome, removed } = await cache.prune({ key: 'site', keep: 1, olderThanMs: 0 })
    expect([outcome, removed.length]).toEqual(['pruned', 1])
    expect(await cache.ensure('site', call(join(memory, 'second')))).toMatchObject({ role: 'built' })
  })

  test('fleet/foreign-records: a damaged record is replaced; one of a newer version is left as it is', async ({
    memory,
  }) => {
    const store = join(memory, 'store')
    const cache = openCache(`file://${store}`)
    await cache.ensure('site', call(join(memory, 'first')))
    writeFileSync(recordIn(store), '{"v":1,"state"')
    expect(await cache.ensure('site', call(join(memory, 'second')))).toMatchObject({ role: 'built' })
    writeFileSync(recordIn(store), '{"v":2}')
    const newer = await cache.ensure('site', call(join(memory, 'third')))
    expect(newer).toMatchObject({ role: 'alone', reason: expect.stringContaining('format 2') })
    expect(readFileSync(recordIn(store), 'utf8')).toBe('{"v":2}')
  })

  test('fleet/target-is-unchanged: a target with other entries is refused before the build, unless the mode is replace', async ({
    memory,
  }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const into = join(memory, 'into')
    mkdirSync(into)
    writeFileSync(join(into, 'mine'), 'mine')
    let builds = 0
    const build: EnsureOptions['build'] = ({ dir }) => {
      builds += 1
      writeFileSync(join(dir, 'file'), 'built')
    }
    await expect(cache.ensure('site', call(into, { build }))).rejects.toMatchObject({
      outcome: 'target-not-empty',
      message: expect.stringMatching(/is not empty\. Use mode 'replace' to replace it as a whole$/),
    })
    expect([builds, readdirSync(into)]).toEqual([0, ['mine']])
    expect(await cache.ensure('site', call(into, { build, mode: 'replace' }))).toMatchObject({ role: 'built' })
    expect(readdirSync(into)).toEqual(['file'])
  })

  test('fleet/target-is-unchanged: an empty tree and links that a restore would refuse are failures of the build', async ({
    memory,
  }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const into = join(memory, 'into')
    await expect(cache.ensure('site', call(into, { build: () => {} }))).rejects.toThrow(/left no file/)
    const build: EnsureOptions['build'] = ({ dir }) => {
      writeFileSync(join(dir, 'file'), 'built')
      symlinkSync('/etc/hostname', join(dir, 'outside'))
    }
    await expect(cache.ensure('site', call(into, { build }))).rejects.toMatchObject({ outcome: 'refused' })
    await expectNames(memory, ['store'])
  })

  test('fleet/target-is-unchanged: a build that leaves a link or a file in place of its directory fails', async ({
    memory,
  }) => {
    const [into, elsewhere] = [join(memory, 'into'), join(memory, 'elsewhere')]
    mkdirSync(elsewhere)
    writeFileSync(join(elsewhere, 'file'), 'built')
    const replacements: Record<string, (dir: string) => void> = {
      // As `nix build --out-link` does.
      link: (dir) => symlinkSync(elsewhere, dir),
      file: (dir) => writeFileSync(dir, 'a file'),
      nothing: () => {},
    }
    for (const cache of [openCache(`file://${join(memory, 'store')}`), openCache(undefined)])
      for (const [name, replace] of Object.entries(replacements)) {
        const build: EnsureOptions['build'] = ({ dir }) => {
          rmSync(dir, { recursive: true })
          replace(dir)
        }
        await expect(cache.ensure('site', call(into, { build })), name).rejects.toThrow('left no directory')
        expect(existsSync(into), name).toBe(false)
      }
    expect(readdirSync(elsewhere)).toEqual(['file'])
  })

  test('fleet/lock-ends-with-its-build: the lock of a build that has ended is not held', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`)
    const locks: EnsureLock[] = []
    await cache.ensure(
      'site',
      call(join(memory, 'into'), {
        build({ dir, lock }) {
          lock.assertHeld()
          locks.push(lock)
          writeFileSync(join(dir, 'file'), 'built')
        },
      }),
    )
    const [lock] = locks
    for (const use of [() => lock?.assertHeld(), () => lock?.progress('linking')])
      expect(use).toThrow(expect.objectContaining({ code: 'ERR_LOCK_LOST' }))
  })

  test('fleet/alone-has-a-reason: without a store, read-only and without conditions it builds alone and says so', async ({
    memory,
  }) => {
    const store = `file://${join(memory, 'store')}` as const
    const cases = [
      { name: 'disabled', cache: openCache(undefined), reason: 'the cache has no store' },
      { name: 'read-only', cache: openCache(store, { readOnly: true }), reason: 'this cache is read-only' },
      { name: 'off', cache: openCache(store, { conditions: 'off' }), reason: /does not honour conditional writes/ },
    ]
    for (const { name, cache, reason } of cases) {
      const result = await cache.ensure('site', call(join(memory, name)))
      expect(result).toMatchObject({ role: 'alone', reason: expect.stringMatching(reason) })
      expect(readFileSync(join(memory, name, 'file'), 'utf8')).toBe('built')
    }
    await openCache(store).ensure('site', call(join(memory, 'built')))
    const readOnly = openCache(store, { readOnly: true })
    expect(await readOnly.ensure('site', call(join(memory, 'restored')))).toMatchObject({ role: 'restored' })
  })

  test('fleet/wrong-arguments: wrong arguments are refused', async ({ memory }) => {
    const cache = openCache('memory:')
    const into = join(memory, 'into')
    const wrong: [string, unknown][] = [
      ['site.tgz', call(into)],
      ['a//b', call(into)],
      ['site', { ...call(into), fingerprint: '' }],
      ['site', { ...call(into), fingerprint: undefined }],
      // In UTF-8 it would be the same fingerprint as every other lone surrogate.
      ['site', { ...call(into), fingerprint: '\ud800' }],
      ['site', { ...call(into), into: 'relative' }],
      ['site', { ...call(into), build: 'npm ci' }],
      ['site', { ...call(into), ttlMs: 10 }],
      ['site', { ...call(into), mode: 'merge' }],
      ['site', { ...call(into), keepProcessAlive: true }],
    ]
    for (const [key, options] of wrong)
      await expect(cache.ensure(key, options as EnsureOptions)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })
})

describe('in a bucket', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())
  beforeEach(() => {
    server.fault = undefined
    server.intercept = undefined
    server.objects.clear()
    server.requests.length = 0
  })

  const isRecord = ({ path }: { path: string }): boolean => path.includes('/.warmswap-ensure/')
  const requestsSince = (start: number): string[] =>
    server.requests.slice(start).map(({ method, path }) => `${method} ${path.replace(/^.*?site\//, '')}`)

  test('fleet/few-requests: a hit reads the record and the blob; a miss writes the record twice', async ({
    memory,
  }) => {
    const cache = openCache(server.store('p'))
    await cache.snapshot({ key: 'site', from: makeFile(join(memory, 'other')) })
    await cache.ensure('site', call(join(memory, 'first')))
    const ofRecord = server.requests.filter(isRecord).map(({ method }) => method)
    expect(ofRecord).toEqual(['GET', 'PUT', 'PUT'])
    const start = server.requests.length
    await cache.ensure('site', call(join(memory, 'second')))
    expect(requestsSince(start).map((line) => line.replace(/[0-9a-f]{64}/, '…'))).toEqual([
      'GET .warmswap-ensure/….json',
      'GET blobs/….tar.zst',
    ])
  })

  const faults = ['lose-answer', 'double', 'conflict', 'precondition', 'slow-down', 'reset'] as const
  for (const what of faults) {
    test(`fleet/lost-answers: ${what} of a write of the record is survived`, async ({ memory }) => {
      const cache = openCache(server.store('p'))
      for (const nth of [1, 2]) {
        let seen = 0
        server.objects.clear()
        server.fault = {
          what,
          when: (request) => isRecord(request) && request.method === 'PUT' && ++seen === nth,
          times: 1,
        }
        let builds = 0
        const build: EnsureOptions['build'] = ({ dir }) => {
          builds += 1
          writeFileSync(join(dir, 'file'), 'built')
        }
        const result = await cache.ensure('site', call(join(memory, `into-${nth}`), { build }))
        expect([result.role, builds, server.fault.times]).toEqual(['built', 1, 0])
      }
    })
  }

  test('fleet/lost-answers: a record that is deleted during the build is not published; the build counts for nobody', async ({
    memory,
  }) => {
    const cache = openCache(server.store('p'))
    let builds = 0
    const result = await cache.ensure(
      'site',
      call(join(memory, 'into'), {
        build({ dir }) {
          builds += 1
          writeFileSync(join(dir, 'file'), String(builds))
          if (builds === 1)
            for (const path of server.objects.keys()) if (isRecord({ path })) server.objects.delete(path)
        },
      }),
    )
    expect([result.role, builds, readFileSync(join(memory, 'into/file'), 'utf8')]).toEqual(['built', 2, '2'])
  })

  test('fleet/alone-has-a-reason: a store that refuses writes, and one that fails for longer than patience, leave the caller alone', async ({
    memory,
  }) => {
    const cache = openCache(server.store('p'))
    server.fault = { what: 'denied', when: ({ method }) => method === 'PUT' }
    expect(await cache.ensure('site', call(join(memory, 'denied')))).toMatchObject({
      role: 'alone',
      reason: expect.stringContaining('403'),
    })
    server.fault = undefined
    const answers = { 503: 'SlowDown', 409: 'ConditionalRequestConflict', 412: 'PreconditionFailed' }
    server.intercept = ({ method, url = '' }, response) => {
      const [, status = ''] = /(\d+)\/\.warmswap-ensure\//.exec(url) ?? []
      if (method !== 'PUT' || status === '') return false
      const code = answers[Number(status) as keyof typeof answers]
      response.writeHead(Number(status)).end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`)
      return true
    }
    const ends = Object.keys(answers).map(async (status) => {
      const result = await cache.ensure(`key/${status}`, call(join(memory, status), { ttlMs: 3_000 }))
      expect(result).toMatchObject({ role: 'alone', reason: expect.stringContaining(status) })
    })
    await Promise.all(ends)
  })

  test('fleet/alone-has-a-reason: a store that refuses every write after the first leaves the builder with its tree, after a few requests', async ({
    memory,
  }) => {
    const cache = openCache(server.store('p'))
    // From here on it knows that the store honours conditions.
    await cache.ensure('site', call(join(memory, 'first'), { fingerprint: 'another' }))
    let writes = 0
    server.fault = {
      what: 'conflict',
      when: (request) => isRecord(request) && request.method === 'PUT' && ++writes > 1,
    }
    const result = await cache.ensure('site', call(join(memory, 'into'), { ttlMs: 3_000 }))
    expect(result).toMatchObject({ role: 'alone', reason: expect.stringMatching(/409/) })
    expect(readFileSync(join(memory, 'into/file'), 'utf8')).toBe('built')
    // Patience is 1.5 s, with pauses of 100, 200, 400 and 800 ms. One more write can come before the build.
    expect(writes).toBeLessThanOrEqual(7)
  })

  test('fleet/build-stops-in-time, fleet/deaf-builds-run-on: a builder that cannot renew is stopped, and builds again once the store answers', async ({
    memory,
  }) => {
    const cache = openCache(server.store('p'))
    const events: string[] = []
    let builds = 0
    const result = await cache.ensure(
      'site',
      call(join(memory, 'into'), {
        ttlMs: 1_000,
        onEvent: ({ kind }) => events.push(kind),
        async build({ dir, signal }) {
          builds += 1
          if (builds === 1) {
            server.fault = { what: 'slow-down', when: isRecord }
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            expect(signal.reason).toMatchObject({ code: 'ERR_LOCK_LOST' })
            server.fault = undefined
            // A build that ignores the signal can still have effects elsewhere.
            writeFileSync(join(memory, 'effect'), 'after the lease was lost')
            throw signal.reason
          }
          writeFileSync(join(dir, 'file'), 'second')
        },
      }),
    )
    expect([result.role, builds]).toEqual(['built', 2])
    expect(readdirSync(join(memory, 'into'))).toEqual(['file'])
    expect(existsSync(join(memory, 'effect'))).toBe(true)
    expect(events).toEqual(['building', 'lost', 'building'])
  })

  test('fleet/signed-results: pointers are signed: a record of another secret is refused', async ({ memory }) => {
    const mine = openCache(server.store('p'), { hmacKey: 'the secret of the main level' })
    const other = openCache(server.store('p'), { hmacKey: 'the secret of another level' })
    await other.ensure('site', call(join(memory, 'other')))
    await expect(mine.ensure('site', call(join(memory, 'mine')))).rejects.toMatchObject({ outcome: 'refused' })
    expect(existsSync(join(memory, 'mine'))).toBe(false)
  })
})

function makeFile(folder: string): string {
  mkdirSync(folder)
  writeFileSync(join(folder, 'file'), 'x')
  return folder
}

describe('warmswap cache ensure', () => {
  const run = async (args: string[]): Promise<{ code: number | null; out: string; errors: string }> => {
    const child = start(process.execPath, [program, 'cache', 'ensure', ...args])
    const { code } = await child.ended
    return { code, out: child.lines.join('\n'), errors: child.stderr() }
  }

  test('fleet/one-build: the command builds once; a failing one ends with its exit code and leaves no target', async ({
    memory,
  }) => {
    const lockFile = join(memory, 'lock')
    writeFileSync(lockFile, 'one')
    const into = join(memory, 'into')
    const common = ['--store', `file://${join(memory, 'store')}`, '--key', 'site', '--fingerprint-file', lockFile]
    const shell = (script: string): string[] => ['--', 'sh', '-c', script]
    const failed = await run([...common, '--into', into, ...shell('echo half > "$WARMSWAP_BUILD_DIR/half"; exit 7')])
    expect([failed.code, existsSync(into)]).toEqual([7, false])
    expect(failed.errors).toMatch(/'sh' ended with exit code 7/)
    const build = shell('echo made; echo x > "$WARMSWAP_BUILD_DIR/file"')
    const built = await run([...common, '--into', into, '--json', ...build])
    expect([built.code, JSON.parse(built.out)]).toMatchObject([0, { outcome: 'built', role: 'built' }])
    const restored = await run([...common, '--into', join(memory, 'other'), ...shell('exit 9')])
    expect(restored).toMatchObject({ code: 0, out: expect.stringMatching(/^restored in /) })
    writeFileSync(lockFile, 'other')
    expect((await run([...common, '--into', join(memory, 'third'), ...shell('exit 9')])).code).toBe(9)
    for (const wrong of [
      [...common, '--into', into],
      ['--into', into, ...build],
      [...common, ...build],
      [...common, '--into', into, '--', ''],
      [...common, '--fingerprint-file', join(memory, 'absent'), '--into', into, ...build],
    ])
      expect((await run(wrong)).code).toBe(2)
    expect((await run(['--help'])).out).toContain('warmswap cache ensure')
  })
})
