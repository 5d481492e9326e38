// @module-tag system
/** The credential chain: each provider against a real endpoint of its own, proven by a store that verifies signatures. */

// guarantee: caches/credential-sources-work

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type RestoreResult, type S3Location, type SnapshotResult, openCache } from 'warmswap'
import { makeCertificate } from '../support/certificates.js'
import { start } from '../support/children.js'
import { type Endpoint, blackHole, httpEndpoint, silentEndpoint } from '../support/endpoints.js'
import { restoreAwsEnvironment, setAwsEnvironment } from '../support/environment.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { type S3Server, ACCESS_KEY_ID, SECRET_ACCESS_KEY, s3sProgram, startS3s } from '../support/s3.js'
import { test } from '../support/temp.js'
import { makeTree } from '../support/trees.js'

const TOKEN = 'session-token-of-the-test'
const withoutKeys = ({ accessKeyId: _, secretAccessKey: __, ...store }: ReturnType<S3Server['store']>): S3Location =>
  store
const inAnHour = (): string => new Date(Date.now() + 3_600_000).toISOString()
const containerAnswer = (): string =>
  JSON.stringify({
    AccessKeyId: ACCESS_KEY_ID,
    SecretAccessKey: SECRET_ACCESS_KEY,
    Token: TOKEN,
    Expiration: inAnHour(),
  })

const endpoints: Endpoint[] = []
const opened = async (endpoint: Promise<Endpoint>): Promise<Endpoint> => {
  endpoints.push(await endpoint)
  return endpoint
}
beforeEach(() => setAwsEnvironment())
afterEach(async () => {
  restoreAwsEnvironment()
  for (const endpoint of endpoints.splice(0)) await endpoint.stop()
})

const isThere = s3sProgram() !== undefined
describe.skipIf(!isThere && process.env.CI === undefined)(
  `the chain, by signatures that s3s-fs verifies${isThere ? '' : ' (NOT RUN: s3s-fs could not be installed)'}`,
  () => {
    let server: S3Server
    beforeAll(async () => {
      server = await startS3s()
    })
    afterAll(() => server?.stop())

    /** 'miss' means that the store accepted the signature; without one it says 403. */
    async function expectSigned(memory: string, options: object = {}): Promise<void> {
      expect(
        await openCache({ ...withoutKeys(server.store('chain')), ...options }).restore({
          key: 'site',
          into: join(memory, 'into'),
        }),
      ).toMatchObject({ outcome: 'miss' })
    }

    test('environment', async ({ memory }) => {
      setAwsEnvironment({ AWS_ACCESS_KEY_ID: ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: SECRET_ACCESS_KEY })
      await expectSigned(memory)
      setAwsEnvironment({ AWS_ACCESS_KEY_ID: ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: 'another secret' })
      expect(
        await openCache(withoutKeys(server.store())).restore({ key: 'site', into: join(memory, 'into') }),
      ).toMatchObject({ outcome: 'denied', stage: 'lookup' })
    })

    test('profile: of AWS_PROFILE, and of the location before it', async ({ memory }) => {
      const file = join(memory, 'credentials')
      writeFileSync(
        file,
        `[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n[mine]\naws_access_key_id = ${ACCESS_KEY_ID}\naws_secret_access_key = ${SECRET_ACCESS_KEY}\n`,
      )
      setAwsEnvironment({ AWS_SHARED_CREDENTIALS_FILE: file, AWS_PROFILE: 'mine' })
      await expectSigned(memory)
      setAwsEnvironment({ AWS_SHARED_CREDENTIALS_FILE: file, AWS_PROFILE: 'default' })
      await expectSigned(memory, { profile: 'mine' })
    })

    test('a profile that names a process: it is not run, and reported as no credentials', async ({ memory }) => {
      const [program, config] = [join(memory, 'program'), join(memory, 'config')]
      writeFileSync(
        program,
        `#!/bin/sh\ntouch ${join(memory, 'was-run')}\necho '${JSON.stringify({ Version: 1, AccessKeyId: ACCESS_KEY_ID, SecretAccessKey: SECRET_ACCESS_KEY })}'\n`,
      )
      chmodSync(program, 0o755)
      writeFileSync(config, `[default]\ncredential_process = ${program}\n`)
      setAwsEnvironment({ AWS_CONFIG_FILE: config })
      expect(
        await openCache(withoutKeys(server.store('chain'))).restore({ key: 'site', into: join(memory, 'into') }),
      ).toMatchObject({ outcome: 'denied', stage: 'credentials' })
      expect(readdirSync(memory).sort()).toEqual(['config', 'program'])
    })

    test('SSO: a profile with sso_start_url, and the token that `aws sso login` left', async ({ memory }) => {
      const startUrl = 'https://company.awsapps.com/start'
      const portal = await opened(
        httpEndpoint((request, response) => {
          const isRight =
            request.headers['x-amz-sso_bearer_token'] === 'sso-token' &&
            request.url === '/federation/credentials?role_name=Developer&account_id=123456789012'
          response.writeHead(isRight ? 200 : 401).end(
            JSON.stringify({
              roleCredentials: {
                accessKeyId: ACCESS_KEY_ID,
                secretAccessKey: SECRET_ACCESS_KEY,
                sessionToken: TOKEN,
                expiration: Date.now() + 3_600_000,
              },
            }),
          )
        }),
      )
      const config = join(memory, 'config')
      writeFileSync(
        config,
        `[profile work]\nsso_start_url = ${startUrl}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = Developer\n`,
      )
      const cached = join(memory, '.aws/sso/cache')
      mkdirSync(cached, { recursive: true })
      writeFileSync(
        join(cached, `${createHash('sha1').update(startUrl).digest('hex')}.json`),
        JSON.stringify({ accessToken: 'sso-token', expiresAt: inAnHour() }),
      )
      setAwsEnvironment({
        AWS_CONFIG_FILE: config,
        AWS_PROFILE: 'work',
        AWS_SSO_ENDPOINT: `${portal.url}/federation/credentials`,
      })
      process.env.HOME = memory
      await expectSigned(memory)
    })

    test('EKS Pod Identity: a container endpoint with a token file, which is trimmed', async ({ memory }) => {
      const token = join(memory, 'token')
      writeFileSync(token, 'the-token\n')
      const asked: (string | undefined)[] = []
      const agent = await opened(
        httpEndpoint((request, response) => {
          asked.push(request.headers.authorization)
          response.end(containerAnswer())
        }),
      )
      setAwsEnvironment({
        AWS_CONTAINER_CREDENTIALS_FULL_URI: `${agent.url}/v1/credentials`,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
      })
      await expectSigned(memory)
      expect(asked).toEqual(['the-token'])
    })

    test('IMDSv2', async ({ memory }) => {
      const imds = await opened(
        httpEndpoint((request, response) => {
          if (request.method === 'PUT') return void response.end('imds-token')
          if (request.headers['x-aws-ec2-metadata-token'] !== 'imds-token') return void response.writeHead(401).end()
          if (request.url?.endsWith('/security-credentials/')) return void response.end('role')
          response.end(
            JSON.stringify({
              Code: 'Success',
              Type: 'AWS-HMAC',
              LastUpdated: new Date().toISOString(),
              ...JSON.parse(containerAnswer()),
            }),
          )
        }),
      )
      setAwsEnvironment({ AWS_EC2_METADATA_DISABLED: 'false', AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url })
      await expectSigned(memory)
    })

    test("web identity (IRSA): STS, through the proxy of the environment; the store and the pod's agent without it", async ({
      memory,
    }) => {
      const sts = await startSts(memory)
      writeFileSync(join(memory, 'web-token'), 'web-identity-token')
      const child = start(
        process.execPath,
        [
          join(repository, '__test__/programs/caches-calls.js'),
          'restore',
          JSON.stringify(withoutKeys(server.store())),
          join(memory, 'into'),
        ],
        {
          env: {
            AWS_WEB_IDENTITY_TOKEN_FILE: join(memory, 'web-token'),
            AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/pod',
            AWS_REGION: 'us-east-1',
            AWS_STS_REGIONAL_ENDPOINTS: 'regional',
            HTTPS_PROXY: sts.proxy,
            SSL_CERT_FILE: sts.certificate,
          },
        },
      )
      await child.ended
      expect(child.lines.join('\n') + child.stderr()).toBe('miss')
      expect(sts.connected).toEqual(['sts.us-east-1.amazonaws.com:443'])
      expect(sts.asked).toEqual([
        expect.stringMatching(
          /Action=AssumeRoleWithWebIdentity.*WebIdentityToken=web-identity-token|WebIdentityToken=web-identity-token.*Action=AssumeRoleWithWebIdentity/,
        ),
      ])
      await sts.stop()
    })

    test('roleArn: the credentials of the location assume it, at the STS of the region', async ({ memory }) => {
      const sts = await startSts(memory)
      const location = {
        ...server.store(),
        accessKeyId: 'AKIAASSUMES',
        secretAccessKey: 'another secret',
        roleArn: 'arn:aws:iam::123456789012:role/writer',
      }
      const child = start(
        process.execPath,
        [
          join(repository, '__test__/programs/caches-calls.js'),
          'restore',
          JSON.stringify(location),
          join(memory, 'into'),
        ],
        {
          env: { HTTPS_PROXY: sts.proxy, SSL_CERT_FILE: sts.certificate },
        },
      )
      await child.ended
      expect(child.lines.join('\n') + child.stderr()).toBe('miss')
      expect(sts.connected).toEqual(['sts.us-east-1.amazonaws.com:443'])
      expect(sts.asked).toEqual([expect.stringContaining('Action=AssumeRole&')])
      await sts.stop()
    })
  },
)

/** AWS STS behind a proxy: its address is fixed in the chain, so the proxy is what leads there. */
async function startSts(
  folder: string,
): Promise<{ proxy: string; certificate: string; connected: string[]; asked: string[]; stop(): Promise<void> }> {
  const { key, cert, file: certificate } = makeCertificate(folder, 'DNS:sts.us-east-1.amazonaws.com')
  const [connected, asked]: [string[], string[]] = [[], []]
  const sts = createTlsServer({ key, cert }, async (request, response) => {
    let body = ''
    for await (const piece of request.setEncoding('utf8')) body += piece as string
    const ask = `${request.url}${body}`
    asked.push(ask)
    const action = /Action=(\w+)/.exec(ask)?.[1]
    response.end(
      `<${action}Response><${action}Result><Credentials><AccessKeyId>${ACCESS_KEY_ID}</AccessKeyId><SecretAccessKey>${SECRET_ACCESS_KEY}</SecretAccessKey><SessionToken>${TOKEN}</SessionToken><Expiration>${inAnHour()}</Expiration></Credentials></${action}Result></${action}Response>`,
    )
  }).listen(0, '127.0.0.1')
  const proxy = createServer((client) => {
    client
      .on('error', () => {})
      .once('data', (head) => {
        connected.push(/^CONNECT (\S+)/.exec(head.toString())?.[1] ?? head.toString())
        const upstream = connect((sts.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
        client.write('HTTP/1.1 200 Connection established\r\n\r\n')
        client.pipe(upstream).pipe(client)
      })
  }).listen(0, '127.0.0.1')
  await Promise.all([once(sts, 'listening'), once(proxy, 'listening')])
  return {
    proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    certificate,
    connected,
    asked,
    stop: async () => {
      sts.closeAllConnections()
      for (const each of [sts, proxy]) {
        each.close()
        await once(each, 'close')
      }
    },
  }
}

describe('caches/calls-never-reject, caches/deadline-is-absolute: the chain in trouble', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())

  /** The invariant says 100 ms; ten times that on a machine under load. */
  const LATE_MS = 1000
  const OWN_MS = 2000

  const container = (url: string): Record<string, string> => ({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url })
  const imds = (url: string): Record<string, string> => ({
    AWS_EC2_METADATA_DISABLED: 'false',
    AWS_EC2_METADATA_SERVICE_ENDPOINT: url,
  })
  const slowly = (ms: number): Promise<Endpoint> =>
    httpEndpoint((_, response) => void setTimeout(() => response.end(containerAnswer()), ms))
  const answering = (status: number, body: string): Promise<Endpoint> =>
    httpEndpoint((_, response) => void response.writeHead(status).end(body))

  const troubles: [string, () => Promise<Endpoint>, (url: string) => Record<string, string>, string][] = [
    ['a container endpoint that never answers', silentEndpoint, container, 'timeout'],
    ['a container endpoint in a black hole', blackHole, container, 'timeout'],
    ['a container endpoint that is slow, within its time', () => slowly(700), container, 'fine'],
    ['a container endpoint that is slow beyond its time', () => slowly(10_000), container, 'timeout'],
    ['a container endpoint that answers nonsense', () => answering(200, '<html>'), container, 'denied'],
    ['a container endpoint that refuses', () => answering(403, SECRET_ACCESS_KEY), container, 'denied'],
    ['a container endpoint that is down', () => answering(503, ''), container, 'denied'],
    ['an IMDS that never answers', silentEndpoint, imds, 'timeout'],
    ['an IMDS in a black hole', blackHole, imds, 'timeout'],
    ['no credentials anywhere', silentEndpoint, () => ({}), 'denied'],
  ]

  test.for(troubles)(
    '%s: both verbs say so within its own 2 s, and the store is not asked',
    async ([, open, variables, outcome], { memory }) => {
      setAwsEnvironment(variables((await opened(open())).url))
      const tree = makeTree(join(memory, 'tree'))
      server.requests.length = 0
      const calls: [string, () => Promise<RestoreResult | SnapshotResult>][] = [
        [
          'restore',
          () =>
            openCache(withoutKeys(server.store(memory))).restore({
              key: 'site',
              into: join(memory, 'into'),
              deadlineMs: 60_000,
              idleMs: 30_000,
            }),
        ],
        [
          'snapshot',
          () =>
            openCache(withoutKeys(server.store(memory))).snapshot({
              key: 'site',
              from: tree,
              deadlineMs: 60_000,
              idleMs: 30_000,
            }),
        ],
      ]
      for (const [verb, call] of calls) {
        const started = performance.now()
        const result = await call()
        const ms = performance.now() - started
        expect(JSON.stringify(result), verb).not.toContain(SECRET_ACCESS_KEY)
        if (outcome === 'fine') {
          expect(result.outcome, verb).toBe(verb === 'restore' ? 'miss' : 'uploaded')
          continue
        }
        expect(result, verb).toMatchObject({ ok: false, outcome, reason: expect.stringContaining('credentials') })
        if (verb === 'restore') expect(result).toMatchObject({ stage: 'credentials' })
        expect(ms, verb).toBeLessThan(OWN_MS + LATE_MS)
        if (outcome === 'timeout') expect(ms, verb).toBeGreaterThan(OWN_MS - 100)
        expect(server.requests, verb).toEqual([])
      }
    },
  )

  test('a deadline that is nearer than those 2 s is kept', async ({ memory }) => {
    setAwsEnvironment(container((await opened(silentEndpoint())).url))
    const started = performance.now()
    expect(
      await openCache(withoutKeys(server.store())).restore({
        key: 'site',
        into: join(memory, 'into'),
        deadlineMs: 500,
      }),
    ).toMatchObject({ outcome: 'timeout', stage: 'credentials' })
    expect(performance.now() - started).toBeLessThan(500 + LATE_MS)
  })

  test('a session token is sent with each request', async ({ memory }) => {
    setAwsEnvironment(
      container((await opened(httpEndpoint((_, response) => void response.end(containerAnswer())))).url),
    )
    server.requests.length = 0
    expect(
      await openCache(withoutKeys(server.store())).restore({ key: 'site', into: join(memory, 'into') }),
    ).toMatchObject({ outcome: 'miss' })
    for (const { headers } of server.requests)
      expect(headers).toMatchObject({
        'x-amz-security-token': TOKEN,
        authorization: expect.stringContaining(`Credential=${ACCESS_KEY_ID}/`),
      })
    expect(server.requests.length).toBeGreaterThan(0)
  })
})
