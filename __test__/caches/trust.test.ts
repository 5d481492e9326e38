// Trust levels: which level a cache reads and writes, and how a process gets its level. The attacks are in
// cve-2025-36852.test.ts and in rust/caches/trust.rs.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type Cache, type CacheOptions, cacheTrustFromEnv, openCache, type TrustOptions } from 'warmswap'
import { runAll } from '../support/cli.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { test } from '../support/temp.js'
import { keyPair } from '../support/trust.js'

const [main, own, other] = [keyPair(), keyPair(), keyPair()]
const trustedKeys = { main: main.publicKey }

const ofMain: TrustOptions = { level: 'main', signWith: main.privateKey }
const ofPullRequest: TrustOptions = { level: 'pr-12', signWith: own.privateKey, trustedKeys }
const ofFork: TrustOptions = { trustedKeys }

function tree(folder: string, content: string): string {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'file'), content)
  return folder
}

let count = 0
/** The level and the content that a restore finds, or its outcome. */
async function restored(cache: Cache, folder: string, key = 'site', fallbackKeys: string[] = []): Promise<string> {
  const into = join(folder, `into-${++count}`)
  const { outcome, level } = await cache.restore({ key, fallbackKeys, into })
  return outcome === 'restored' ? `${level}: ${readFileSync(join(into, 'file'), 'utf8')}` : outcome
}

async function save(cache: Cache, folder: string, content: string, key = 'site'): Promise<string> {
  const { outcome, reason } = await cache.snapshot({ key, from: tree(join(folder, `tree-${++count}`), content) })
  return reason === undefined ? outcome : `${outcome}: ${reason}`
}

describe('caches/own-level-only: each level has its own objects', () => {
  test('a pull request reads its own level, then main. Main reads its own only', async ({ memory }) => {
    const open = (trust: TrustOptions): Cache => openCache(`file://${join(memory, 'store')}`, { trust })
    const [mains, owns, forks] = [open(ofMain), open(ofPullRequest), open(ofFork)]
    expect(await save(mains, memory, 'of main')).toBe('uploaded')
    expect(await restored(owns, memory)).toBe('main: of main')
    expect(await save(owns, memory, 'of pr-12')).toBe('uploaded')
    expect(await restored(owns, memory)).toBe('pr-12: of pr-12')
    expect(await restored(mains, memory)).toBe('main: of main')
    expect(await restored(forks, memory)).toBe('main: of main')
    // In the order of readsFrom, if it names the own level.
    expect(await restored(open({ ...ofPullRequest, readsFrom: ['main', 'pr-12'] }), memory)).toBe('main: of main')
    // Each key in all levels before the next key.
    expect(await save(owns, memory, 'fallback', 'fallback')).toBe('uploaded')
    expect(await save(mains, memory, 'exact', 'exact')).toBe('uploaded')
    expect(await restored(owns, memory, 'exact', ['fallback'])).toBe('main: exact')
    expect(readdirSync(join(memory, 'store')).sort()).toEqual(['.warmswap-level', '.warmswap-tmp', '.warmswap-writers'])
    expect(readdirSync(join(memory, 'store/.warmswap-level')).sort()).toEqual(['main', 'pr-12'])
    expect(await owns.inspect('site')).toMatchObject({ level: 'pr-12' })
    expect(await forks.inspect('site')).toMatchObject({ level: 'main' })
    expect(await forks.inspect('nothing')).toBeNull()
  })

  test('remove and prune change the own level only', async ({ memory }) => {
    const open = (trust: TrustOptions): Cache => openCache(`file://${join(memory, 'store')}`, { trust })
    const [mains, owns] = [open(ofMain), open(ofPullRequest)]
    for (const cache of [mains, owns]) expect(await save(cache, memory, 'content')).toBe('uploaded')
    expect(await owns.prune({ key: 'site', keep: 1, olderThanMs: 0 })).toMatchObject({ outcome: 'pruned' })
    expect(await owns.remove('site')).toMatchObject({ outcome: 'removed' })
    expect(await restored(owns, memory)).toBe('main: content')
    expect(await restored(mains, memory)).toBe('main: content')
  })

  test('a ticket belongs to the own level', async ({ memory }) => {
    const open = (trust: TrustOptions): Cache => openCache(`file://${join(memory, 'store')}`, { trust })
    const [mains, owns] = [open(ofMain), open(ofPullRequest)]
    expect(await save(mains, memory, 'of main')).toBe('uploaded')
    const { outcome, level, ticket } = await owns.restore({ key: 'site', into: join(memory, 'into') })
    expect([outcome, level]).toEqual(['restored', 'main'])
    expect(await save(mains, memory, 'of main, later')).toBe('uploaded')
    const from = tree(join(memory, 'from'), 'of pr-12')
    expect(await owns.snapshot({ key: 'site', from, ticket: ticket! })).toMatchObject({ outcome: 'uploaded' })
    expect(await owns.snapshot({ key: 'site', from: tree(from, 'again'), ticket: ticket! })).toMatchObject({
      outcome: 'superseded',
    })
  })

  test('without a private key or a level nothing is written, and the reason names the missing option', async ({
    memory,
  }) => {
    const store = `file://${join(memory, 'store')}`
    expect(await save(openCache(store, { trust: ofMain }), memory, 'of main')).toBe('uploaded')
    for (const [trust, missing] of [
      [{ level: 'pr-12', trustedKeys }, "options.trust.signWith, the private key of level 'pr-12', is missing"],
      [{ trustedKeys }, 'options.trust.level, the level to write to, is missing'],
    ] as const) {
      const cache = openCache(store, { trust })
      const reason = `this cache is read-only: ${missing}`
      expect(await save(cache, memory, 'mine')).toBe(`disabled: ${reason}`)
      expect(await cache.prune({ key: 'site' })).toMatchObject({ outcome: 'disabled', reason })
      expect(await cache.remove('site')).toMatchObject({ outcome: 'disabled', reason })
      expect(await restored(cache, memory)).toBe('main: of main')
      const into = join(memory, `ensured-${missing.length}`)
      const build = ({ dir }: { dir: string }): void => void tree(dir, 'built')
      expect(await cache.ensure('site', { fingerprint: 'f', into, build })).toMatchObject({ role: 'alone', reason })
    }
    expect(readdirSync(join(memory, 'store/.warmswap-level'))).toEqual(['main'])
  })

  test('keys are exchanged: both public keys are accepted for a time', async ({ memory }) => {
    const store = `file://${join(memory, 'store')}`
    await save(openCache(store, { trust: ofMain }), memory, 'old')
    const both = { trustedKeys: { main: [other.publicPem, main.publicKey] } }
    const next = openCache(store, { trust: { level: 'main', signWith: other.privateKey, ...both } })
    expect(await restored(next, memory)).toBe('main: old')
    expect(await save(next, memory, 'new')).toBe('uploaded')
    expect(await restored(openCache(store, { trust: both }), memory)).toBe('main: new')
    expect(await restored(openCache(store, { trust: ofFork }), memory)).toBe('refused')
    // What another key pair has signed is not replaced either, and the reason names the way out.
    const refused = await save(openCache(store, { trust: ofMain }), memory, 'mine')
    expect(refused).toMatch(/^denied: .*trusted public keys.*remove the key with a process of level 'main'/s)
  })

  test('plain caches and caches with hmacKey keep their format, and do not take a signed pointer for theirs', async ({
    memory,
  }) => {
    const store = join(memory, 'store')
    await save(openCache(`file://${store}`, { trust: ofMain }), memory, 'of main')
    const inLevel = `file://${join(store, '.warmswap-level/main')}`
    for (const options of [{}, { hmacKey: 'a secret of 16 bytes or more' }] satisfies CacheOptions[]) {
      expect(await restored(openCache(`file://${store}`, options), memory)).toBe('miss')
      expect(await restored(openCache(inLevel, options), memory)).toBe('incompatible')
      expect(await save(openCache(inLevel, options), memory, 'mine')).toMatch(/^incompatible/)
      expect(await save(openCache(`file://${store}`, options), memory, 'plain')).toBe('uploaded')
      const pointer = JSON.parse(readFileSync(join(store, 'site/current.json'), 'utf8'))
      expect([pointer.v, Object.keys(pointer).includes('hmac')]).toEqual([1, 'hmacKey' in options])
      expect(await openCache(`file://${store}`, options).remove('site')).toMatchObject({ outcome: 'removed' })
    }
  })

  test('caches/no-poisoning: keys that are one object have no signature and are refused', async ({ memory }) => {
    const cache = openCache(`file://${join(memory, 'store')}`, { trust: ofMain })
    expect(await cache.restore({ key: 'a.tar.zst', into: join(memory, 'into') })).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('With trust, use a key without a file extension'),
    })
  })
})

describe('what only the policy of the store prevents', () => {
  test('caches/old-pointers-are-accepted: an older pointer of main is restored if another writer puts it back', async ({
    memory,
  }) => {
    const store = join(memory, 'store')
    const mains = openCache(`file://${store}`, { trust: ofMain })
    const current = join(store, '.warmswap-level/main/site/current.json')
    await save(mains, memory, 'with a known flaw')
    const old = readFileSync(current)
    expect(await save(mains, memory, 'without the flaw')).toBe('uploaded')
    expect(await restored(mains, memory)).toBe('main: without the flaw')
    writeFileSync(current, old)
    expect(await restored(mains, memory)).toBe('main: with a known flaw')
  })

  test('caches/levels-can-be-denied: objects of main that another writer deletes or damages are not restored', async ({
    memory,
  }) => {
    const store = join(memory, 'store')
    const mains = openCache(`file://${store}`, { trust: ofMain })
    const current = join(store, '.warmswap-level/main/site/current.json')
    await save(mains, memory, 'content')
    const pointer = readFileSync(current, 'utf8')
    writeFileSync(current, 'damaged')
    expect(await restored(mains, memory)).toBe('corrupt')
    writeFileSync(current, pointer.replace('"signature":"', '"signature":"00'))
    expect(await restored(mains, memory)).toBe('refused')
    rmSync(current)
    expect(await restored(mains, memory)).toBe('miss')
  })
})

describe('fleet/levels-are-read-first: ensure() and trust levels', () => {
  test('a result of main is restored by a pull request and by a fork, and builds of a pull request stay in its level', async ({
    memory,
  }) => {
    const open = (trust: TrustOptions): Cache => openCache(`file://${join(memory, 'store')}`, { trust })
    const builds: string[] = []
    const ensure = async (trust: TrustOptions, name: string, fingerprint: string): Promise<string> => {
      const into = join(memory, `${name}-${fingerprint}`)
      const { role, restore } = await open(trust).ensure('site', {
        fingerprint,
        into,
        build({ dir }) {
          builds.push(name)
          tree(dir, `by ${name}`)
        },
      })
      return `${role} ${restore?.level ?? '-'}: ${readFileSync(join(into, 'file'), 'utf8')}`
    }
    expect(await ensure(ofMain, 'main', 'one')).toBe('built -: by main')
    expect(await ensure(ofPullRequest, 'pr', 'one')).toBe('restored main: by main')
    expect(await ensure(ofFork, 'fork', 'one')).toBe('restored main: by main')
    expect(await ensure(ofPullRequest, 'pr', 'two')).toBe('built -: by pr')
    expect(await ensure(ofPullRequest, 'again', 'two')).toBe('restored pr-12: by pr')
    expect(await ensure(ofFork, 'fork', 'two')).toBe('alone -: by fork')
    expect(await ensure(ofMain, 'main', 'two')).toBe('built -: by main')
    expect(builds).toEqual(['main', 'pr', 'fork', 'main'])
    const readsBoth = { ...ofFork, trustedKeys: { ...trustedKeys, 'pr-12': own.publicKey } }
    expect(await ensure({ ...readsBoth, readsFrom: ['pr-12', 'main'] }, 'order', 'two')).toBe('restored pr-12: by pr')
  })

  test('a result of main that is damaged is built again in the own level', async ({ memory }) => {
    const store = join(memory, 'store')
    const build = ({ dir }: { dir: string }): void => void tree(dir, 'built')
    const ensure = async (trust: TrustOptions, name: string): Promise<string> => {
      const options = { fingerprint: 'one', into: join(memory, name), build }
      return (await openCache(`file://${store}`, { trust }).ensure('site', options)).role
    }
    expect(await ensure(ofMain, 'main')).toBe('built')
    const blobs = join(store, '.warmswap-level/main/site/blobs')
    const blob = join(blobs, readdirSync(blobs)[0]!)
    writeFileSync(blob, readFileSync(blob).fill(0, 20, 40))
    expect(await ensure(ofPullRequest, 'pr')).toBe('built')
  })
})

describe('on S3', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())
  beforeEach(() => {
    server.fault = undefined
    server.objects.clear()
    server.requests.length = 0
  })

  test('caches/own-level-only: every request of a level is below its prefix, so that a policy can be limited to it', async ({
    memory,
  }) => {
    const cache = openCache(server.store('p'), { trust: ofMain })
    await save(cache, memory, 'content')
    await cache.ensure('site', { fingerprint: 'f', into: join(memory, 'a'), build: ({ dir }) => void tree(dir, 'x') })
    await cache.probe()
    await cache.prune({ key: 'site' })
    await cache.remove('site')
    const paths = server.requests.map(({ path, query }) => query.get('prefix') ?? path)
    expect(paths.length).toBeGreaterThan(10)
    expect(paths.filter((path) => !path.includes('p/.warmswap-level/main/'))).toEqual([])
  })

  test('caches/own-level-only: a policy that denies the own level leaves main readable', async ({ memory }) => {
    await save(openCache(server.store('p'), { trust: ofMain }), memory, 'of main')
    server.fault = { what: 'denied', when: ({ path }) => path.includes('/pr-12/') }
    const owns = openCache(server.store('p'), { trust: ofPullRequest })
    expect(await restored(owns, memory)).toBe('main: of main')
    expect(await restored(owns, memory, 'nothing')).toBe('denied')
  })
})

describe('caches/trust-arguments: wrong trust options are refused, and no error contains a private key', () => {
  const body = main.privateKey.split('\n')[1]!
  const cases: [unknown, RegExp][] = [
    [null, /options\.trust:/],
    [[], /options\.trust:/],
    [{ lvl: 'main' }, /options\.trust\.lvl/],
    [{}, /options\.trust: it has no level to read/],
    [{ level: 'main' }, /it has no level to read/],
    [{ level: 1 }, /options\.trust\.level/],
    ...['', 'Main', 'a/b', '..', 'a_b', 'x'.repeat(41)].map((level): [unknown, RegExp] => [
      { level, signWith: main.privateKey },
      /options\.trust\.level.*1 to 40/,
    ]),
    [{ signWith: main.privateKey }, /signWith.*options\.trust\.level/],
    [{ level: 'main', signWith: '' }, /signWith.*PEM/],
    [{ level: 'main', signWith: main.publicPem }, /signWith/],
    [{ level: 'main', signWith: main.privateKey.replace(body, body.slice(0, 20)) }, /signWith.*PKCS#8/],
    [
      { level: 'main', signWith: main.privateKey, trustedKeys: { main: other.publicKey } },
      /signWith.*trustedKeys\.main/,
    ],
    [{ trustedKeys: { main: main.privateKey } }, /trustedKeys\.main.*public key/],
    [{ trustedKeys: { main: 'ed25519:AAAA' } }, /trustedKeys\.main/],
    [{ trustedKeys: { main: [] } }, /trustedKeys\.main.*at least one/],
    [{ trustedKeys: { main: 1 } }, /trustedKeys\.main/],
    [{ trustedKeys: { Main: main.publicKey } }, /trustedKeys/],
    [{ trustedKeys: 'main' }, /trustedKeys/],
    [{ trustedKeys, readsFrom: 'main' }, /readsFrom/],
    [{ trustedKeys, readsFrom: ['main', 'main'] }, /readsFrom\[1\].*once/],
    [{ trustedKeys, readsFrom: ['release'] }, /readsFrom\[0\].*has none/],
    [{ trustedKeys, readsFrom: [] }, /it has no level to read/],
  ]
  test.for(cases)('case %#', ([trust, message]) => {
    let error: unknown
    try {
      openCache('memory:', { trust: trust as TrustOptions })
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) })
    expect((error as Error).message).not.toContain(body.slice(0, 20))
  })

  test('hmacKey and trust exclude each other', () => {
    const options = { trust: ofMain, hmacKey: 'a secret of 16 bytes or more' }
    expect(() => openCache('memory:', options)).toThrow(/options\.hmacKey.*without options\.trust/)
  })

  test('a private key with escaped or lost line feeds is accepted, as CI systems pass it on', () => {
    for (const feed of ['\\n', '', ' ', '\r\n'])
      openCache('memory:', { trust: { level: 'main', signWith: main.privateKey.replaceAll('\n', feed) } })
  })
})

describe('caches/level-of-a-job: the level by the environment', () => {
  const event = (folder: string, repository: string | null): string => {
    const path = join(folder, `event-${++count}.json`)
    const repo = repository === null ? null : { full_name: repository }
    writeFileSync(path, JSON.stringify({ pull_request: { head: { repo } } }))
    return path
  }
  const github = (
    folder: string,
    changed: Record<string, string | undefined> = {},
  ): Record<string, string | undefined> => ({
    GITHUB_ACTIONS: 'true',
    GITHUB_EVENT_NAME: 'pull_request',
    GITHUB_REF: 'refs/pull/12/merge',
    GITHUB_REPOSITORY: 'shop/site',
    GITHUB_EVENT_PATH: event(folder, 'shop/site'),
    ...changed,
  })
  const gitlab = {
    GITLAB_CI: 'true',
    CI_MERGE_REQUEST_IID: '7',
    CI_MERGE_REQUEST_PROJECT_ID: '100',
    CI_MERGE_REQUEST_SOURCE_PROJECT_ID: '100',
  }
  const KEYS = { APP_TRUST_KEYS: `main=${main.publicKey}`, APP_TRUST_SIGN_WITH: own.privateKey }

  test('a pull request of the same repository has a level, and all others are read-only', ({ memory }) => {
    const cases: [Record<string, string | undefined>, string | undefined, RegExp][] = [
      [github(memory), 'pr-12', /refs\/pull\/12\/merge/],
      [github(memory, { GITHUB_EVENT_PATH: event(memory, 'Shop/Site') }), 'pr-12', /shop\/site/],
      [github(memory, { GITHUB_EVENT_PATH: event(memory, 'mallory/site') }), undefined, /fork mallory\/site/],
      [github(memory, { GITHUB_EVENT_PATH: event(memory, null) }), undefined, /unknown/],
      [github(memory, { GITHUB_EVENT_PATH: undefined }), undefined, /unknown/],
      [github(memory, { GITHUB_EVENT_PATH: join(memory, 'absent') }), undefined, /unknown/],
      [github(memory, { GITHUB_REPOSITORY: undefined }), undefined, /unknown/],
      [github(memory, { GITHUB_REF: 'refs/pull/x/merge' }), undefined, /no pull request/],
      [github(memory, { GITHUB_REF: 'refs/heads/refs/pull/12/merge' }), undefined, /no pull request/],
      [github(memory, { GITHUB_EVENT_NAME: 'pull_request_target' }), undefined, /pull_request_target/],
      [github(memory, { GITHUB_EVENT_NAME: 'workflow_run' }), undefined, /workflow_run/],
      [github(memory, { GITHUB_EVENT_NAME: 'push', GITHUB_REF: 'refs/heads/main' }), undefined, /push/],
      [gitlab, 'pr-7', /CI_MERGE_REQUEST_IID is 7/],
      [{ ...gitlab, CI_MERGE_REQUEST_SOURCE_PROJECT_ID: '666' }, undefined, /fork/],
      [{ ...gitlab, CI_MERGE_REQUEST_SOURCE_PROJECT_ID: undefined }, undefined, /unknown/],
      [{ ...gitlab, CI_MERGE_REQUEST_IID: '7/../main' }, undefined, /no number/],
      [{ GITLAB_CI: 'true' }, undefined, /not of a merge request/],
      [{}, undefined, /no level was given/],
    ]
    for (const [env, level, why] of cases) {
      const { trust, reason } = cacheTrustFromEnv({ ...env, ...KEYS }, 'APP')
      expect([trust?.level, trust?.signWith !== undefined], reason).toEqual([level, level !== undefined])
      expect(reason).toMatch(why)
      openCache('memory:', trust === undefined ? {} : { trust })
    }
  })

  test('variables that are set and empty do not switch trust levels off', () => {
    expect(cacheTrustFromEnv({}, 'APP').trust).toBeUndefined()
    const level = { APP_TRUST_LEVEL: 'main' }
    const { trust } = cacheTrustFromEnv({ ...level, ...KEYS, APP_TRUST_SIGN_WITH: '' }, 'APP')
    expect(trust).toEqual({ level: 'main', trustedKeys: { main: [main.publicKey] } })
    const empty = cacheTrustFromEnv({ APP_TRUST_KEYS: '', APP_TRUST_LEVEL: '' }, 'APP').trust!
    expect(() => openCache('memory:', { trust: empty })).toThrow(/no level to read/)
  })

  test('keys, order and wrong values', () => {
    const { trust } = cacheTrustFromEnv(
      {
        APP_TRUST_KEYS: `main=${main.publicKey}, release=${other.publicKey}\n main=${own.publicKey}`,
        APP_TRUST_READS_FROM: 'release main',
      },
      'APP',
    )
    expect(trust).toEqual({
      trustedKeys: { main: [main.publicKey, own.publicKey], release: [other.publicKey] },
      readsFrom: ['release', 'main'],
    })
    for (const [env, prefix] of [
      [{ APP_TRUST_KEYS: 'main' }, 'APP'],
      [{ APP_TRUST_KEYS: '=x' }, 'APP'],
      [{ APP_TRUST_LEVEL: 1 }, 'APP'],
      [{}, 'A-B'],
      [null, 'APP'],
    ] as [Record<string, string>, string][])
      expect(() => cacheTrustFromEnv(env, prefix)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }))
  })
})

describe('warmswap cache trust', () => {
  /** Without the variables of a CI job that runs this test. */
  const nowhere = { GITHUB_ACTIONS: '', GITLAB_CI: '' }

  test('caches/key-pairs: keygen writes the private key for this user only, and never replaces a file', ({
    memory,
  }) => {
    const [file, taken, link] = ['key', 'taken', 'link'].map((name) => join(memory, name)) as [string, string, string]
    writeFileSync(taken, 'mine')
    symlinkSync(join(memory, 'absent'), link)
    const keygen = (path: string): string[] => ['cache', 'trust', 'keygen', path]
    const [made, again, over, through, missing, json] = runAll([
      keygen(file),
      keygen(file),
      keygen(taken),
      keygen(link),
      ['cache', 'trust', 'keygen'],
      [...keygen(join(memory, 'other')), '--json'],
    ])
    expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^ed25519:[A-Za-z0-9+/]{43}=\n$/) })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    for (const refused of [again, over, through]) expect(refused).toMatchObject({ code: 2, out: '' })
    expect(again?.errors).toContain('was not changed')
    expect(readFileSync(taken, 'utf8')).toBe('mine')
    expect(existsSync(join(memory, 'absent'))).toBe(false)
    expect(missing?.code).toBe(2)
    const { publicKey, privateKeyFile } = JSON.parse(json!.out)
    expect(made!.out + made!.errors + json!.out).not.toContain('PRIVATE KEY')
    const signWith = readFileSync(privateKeyFile, 'utf8')
    openCache('memory:', { trust: { level: 'main', signWith, trustedKeys: { main: publicKey } } })
  })

  test('caches/trust-report: it prints what this process reads and writes, and why', ({ memory }) => {
    const store = join(memory, 'store')
    const key = join(memory, 'key')
    writeFileSync(key, own.privateKey)
    const common = ['cache', 'trust', '--json', '--store', `file://${store}`]
    const trusted = ['--trusted-key', `main=${main.publicKey}`]
    const [own_, fork, nothing, unfit, probed] = runAll(
      [
        [...common, ...trusted, '--trust-level', 'pr-12', '--sign-with', key],
        [...common, ...trusted],
        common,
        [...common, '--trust-level', 'main', '--sign-with', key, ...trusted],
        [...common, ...trusted, '--trust-level', 'pr-12', '--sign-with', key, '--probe'],
      ],
      nowhere,
    )
    const path = (level: string): string => `file://${store}/.warmswap-level/${level}/`
    expect([own_?.code, JSON.parse(own_!.out)]).toEqual([
      0,
      {
        outcome: 'trust',
        why: 'WARMSWAP_TRUST_LEVEL',
        level: 'pr-12',
        writes: { level: 'pr-12', path: path('pr-12') },
        reads: [
          { level: 'pr-12', path: path('pr-12'), isOwn: true, trustedKeys: [own.publicKey] },
          { level: 'main', path: path('main'), isOwn: false, trustedKeys: [main.publicKey] },
        ],
        warnings: [],
      },
    ])
    const read = JSON.parse(fork!.out)
    expect([fork?.code, read.writes, read.readOnly]).toEqual([
      0,
      undefined,
      'this cache is read-only: --trust-level, the level to write to, is missing',
    ])
    expect(nothing).toMatchObject({ code: 1, out: expect.stringContaining('no-trust') })
    expect(unfit).toMatchObject({ code: 2, errors: expect.stringContaining('--sign-with') })
    // A folder has no policy for each level.
    expect(probed?.code).toBe(1)
    expect(JSON.parse(probed!.out).warnings).toEqual([expect.stringContaining("write to level 'main'")])
  })

  test('the commands take their trust levels from the environment and from options', ({ memory }) => {
    const key = join(memory, 'key')
    writeFileSync(key, own.privateKey)
    const store = ['--store', `file://${join(memory, 'store')}`, '--key', 'site']
    const from = tree(join(memory, 'tree'), 'content')
    const shell = ['--', 'sh', '-c', 'echo built > "$WARMSWAP_BUILD_DIR/file"']
    const [saved, ...rest] = runAll(
      [
        ['cache', 'save', from, ...store],
        ['cache', 'restore', join(memory, 'a'), ...store, '--json'],
        ['cache', 'restore', join(memory, 'b'), ...store, '--json', '--trust-level', 'pr-1', '--sign-with', key],
        ['cache', 'ensure', '--into', join(memory, 'c'), '--fingerprint', 'f', ...store, '--json', ...shell],
      ],
      {
        ...nowhere,
        WARMSWAP_TRUST_LEVEL: 'main',
        WARMSWAP_TRUST_SIGN_WITH: main.privateKey,
        WARMSWAP_TRUST_KEYS: `main=${main.publicKey}`,
      },
    )
    expect(saved?.code).toBe(0)
    expect(rest.slice(0, 2).map(({ out }) => JSON.parse(out))).toMatchObject([{ level: 'main' }, { level: 'main' }])
    expect(JSON.parse(rest[2]!.out)).toMatchObject({ outcome: 'built' })
  })
})
