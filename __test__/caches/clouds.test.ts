// @module-tag system
// Google Cloud Storage and Azure: sources of credentials, and answers that differ from those of S3. Each source has a real
// endpoint of its own. Azurite verifies keys and
// signatures. fake-gcs-server verifies nothing, so a proxy before it checks the access token. The token endpoints of Google for
// service accounts and users have fixed addresses, and are not reached here.

// guarantee: caches/credential-sources-work

import { createHmac } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request as forward } from 'node:http'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type AzureLocation, openCache, type RestoreResult, type StoreLocation } from 'warmswap'
import { ACCOUNT, ACCOUNT_KEY, type AzuriteServer, startAzurite } from '../support/azurite.js'
import { type Endpoint, httpEndpoint } from '../support/endpoints.js'
import { gcsProgram, type GcsServer, startGcs } from '../support/gcs.js'
import { test } from '../support/temp.js'

const TOKEN = 'access-token-that-must-never-be-told'
const OWN = /^(GOOGLE_|GCE_|AZURE_|AZBLOB_|STORAGE_EMULATOR|XDG_CONFIG_HOME$|HOME$)/
const kept = Object.entries(process.env).filter(([name]) => OWN.test(name))
const clear = (): void => {
  for (const name of Object.keys(process.env)) if (OWN.test(name)) delete process.env[name]
}
/** No metadata server responds there. */
const NOBODY = '127.0.0.1:9'

beforeEach(() => {
  clear()
  Object.assign(process.env, { GCE_METADATA_HOST: NOBODY, AZURE_IMDS_ENDPOINT: `http://${NOBODY}/token` })
})
const endpoints: Endpoint[] = []
const opened = async (endpoint: Promise<Endpoint>): Promise<Endpoint> => {
  endpoints.push(await endpoint)
  return endpoint
}
afterEach(async () => {
  clear()
  Object.assign(process.env, Object.fromEntries(kept))
  for (const endpoint of endpoints.splice(0)) await endpoint.stop()
})

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let body = ''
  for await (const piece of request.setEncoding('utf8')) body += piece
  return body
}

/** 'miss' means that the store accepted the credentials. */
async function restore(store: StoreLocation, memory: string): Promise<RestoreResult> {
  const result = await openCache(store).restore({ key: 'site', into: join(memory, 'into'), attempts: 1 })
  for (const secret of [TOKEN, ACCOUNT_KEY]) expect(JSON.stringify(result)).not.toContain(secret)
  return result
}

const isThere = gcsProgram() !== undefined
describe.skipIf(!isThere && process.env.CI === undefined)('Google Cloud Storage', () => {
  let server: GcsServer
  let guarded: Endpoint
  beforeAll(async () => {
    server = await startGcs()
    const { hostname, port } = new URL(server.endpoint)
    guarded = await httpEndpoint((request, response) => {
      const { method, url: path, headers } = request
      if (headers.authorization !== `Bearer ${TOKEN}`) {
        const error = { code: 401, message: 'Invalid Credentials', errors: [{ reason: 'authError' }] }
        response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
        return
      }
      const onward = forward({ hostname, port, method, path, headers }, (answer) => {
        response.writeHead(answer.statusCode as number, answer.headers)
        answer.pipe(response)
      })
      request.pipe(onward)
    })
  })
  afterAll(async () => {
    await guarded?.stop()
    await server?.stop()
  })
  const location = (): StoreLocation => ({ scheme: 'gs', bucket: 'warmswap-test', endpoint: guarded.url })

  test('an access token of the location, and a wrong one', async ({ memory }) => {
    expect(await restore({ ...(location() as object), token: TOKEN } as StoreLocation, memory)).toMatchObject({
      outcome: 'miss',
    })
    const wrong = { ...(location() as object), token: 'expired' } as StoreLocation
    expect(await restore(wrong, memory)).toMatchObject({
      outcome: 'denied',
      reason: expect.stringContaining('authError'),
    })
  })

  test('the metadata server of a machine or a pod', async ({ memory }) => {
    const metadata = await opened(
      httpEndpoint((request, response) => {
        const isRight =
          request.headers['metadata-flavor'] === 'Google' &&
          request.url?.startsWith('/computeMetadata/v1/instance/service-accounts/default/token')
        response.writeHead(isRight ? 200 : 403).end(JSON.stringify({ access_token: TOKEN, expires_in: 3600 }))
      }),
    )
    process.env.GCE_METADATA_HOST = new URL(metadata.url).host
    expect(await restore(location(), memory)).toMatchObject({ outcome: 'miss' })
  })

  test('a workload identity federation: in GOOGLE_APPLICATION_CREDENTIALS, in credentialsFile, and as the file of gcloud', async ({
    memory,
  }) => {
    const sts = await opened(
      httpEndpoint(async (request, response) => {
        const body = await bodyOf(request)
        const isRight = request.method === 'POST' && body.includes('subject-of-the-job')
        const token = { access_token: TOKEN, expires_in: 3600, token_type: 'Bearer', issued_token_type: 'x' }
        response.writeHead(isRight ? 200 : 400, { 'content-type': 'application/json' }).end(JSON.stringify(token))
      }),
    )
    const [subject, file] = [join(memory, 'subject'), join(memory, 'credentials.json')]
    writeFileSync(subject, 'subject-of-the-job')
    const credentials = JSON.stringify({
      type: 'external_account',
      audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: `${sts.url}/v1/token`,
      credential_source: { file: subject, format: { type: 'text' } },
    })
    writeFileSync(file, credentials)
    process.env.GOOGLE_APPLICATION_CREDENTIALS = file
    expect(await restore(location(), memory)).toMatchObject({ outcome: 'miss' })
    delete process.env.GOOGLE_APPLICATION_CREDENTIALS
    const named = { ...(location() as object), credentialsFile: file } as StoreLocation
    expect(await restore(named, memory)).toMatchObject({ outcome: 'miss' })
    mkdirSync(join(memory, '.config/gcloud'), { recursive: true })
    writeFileSync(join(memory, '.config/gcloud/application_default_credentials.json'), credentials)
    process.env.HOME = memory
    expect(await restore(location(), memory)).toMatchObject({ outcome: 'miss' })
  })

  test('STORAGE_EMULATOR_HOST is the endpoint, and needs no credentials', async ({ memory }) => {
    for (const host of [server.endpoint, new URL(server.endpoint).host]) {
      process.env.STORAGE_EMULATOR_HOST = host
      expect(await restore('gs://warmswap-test/emulated', memory)).toMatchObject({ outcome: 'miss' })
    }
  })

  test('too many requests: repeated after a second; and a bucket that does not exist is named', async ({ memory }) => {
    const times: number[] = []
    let missing = 'No such object: bucket/site/current.json'
    const service = await opened(
      httpEndpoint((_, response) => {
        const [status, reason, message] =
          times.push(performance.now()) === 1 ? [429, 'rateLimitExceeded', 'too many'] : [404, 'notFound', missing]
        const error = { code: status, message, errors: [{ domain: 'global', reason, message }] }
        response.writeHead(Number(status), { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
      }),
    )
    const cache = openCache({ scheme: 'gs', bucket: 'bucket', endpoint: service.url, anonymous: true })
    const into = join(memory, 'into')
    expect(await cache.restore({ key: 'site', into })).toMatchObject({ outcome: 'miss' })
    expect(times).toHaveLength(2)
    expect(times[1]! - times[0]!).toBeGreaterThan(990)
    missing = 'The specified bucket does not exist.'
    expect(await cache.restore({ key: 'site', into })).toMatchObject({
      outcome: 'unavailable',
      reason: expect.stringContaining('NoSuchBucket'),
    })
  })

  test('no credentials: the reason names each place to set them', async ({ memory }) => {
    expect(await restore(location(), memory)).toMatchObject({
      outcome: 'denied',
      stage: 'credentials',
      reason: expect.stringMatching(/GOOGLE_APPLICATION_CREDENTIALS.*gcloud.*credentialsFile/),
    })
  })
})

describe('Azure Blob Storage', () => {
  let server: AzuriteServer
  beforeAll(async () => {
    server = await startAzurite()
  })
  afterAll(() => server?.stop())
  const bare = (): AzureLocation => ({ scheme: 'az', container: 'warmswap-test', endpoint: server.endpoint })

  /** A signature for the account, with these permissions. */
  function signature(permissions: string): string {
    const expiry = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+/, '')
    const fields = [ACCOUNT, permissions, 'b', 'sco', '', expiry, '', 'https,http', '2022-11-02', '', '']
    const text = fields.join('\n')
    const sig = createHmac('sha256', Buffer.from(ACCOUNT_KEY, 'base64')).update(text).digest('base64')
    return String(
      new URLSearchParams({
        sv: '2022-11-02',
        ss: 'b',
        srt: 'sco',
        sp: permissions,
        se: expiry,
        spr: 'https,http',
        sig,
      }),
    )
  }

  test('a key of the location, and a wrong one', async ({ memory }) => {
    const store = { ...bare(), account: ACCOUNT }
    expect(await restore({ ...store, accountKey: ACCOUNT_KEY }, memory)).toMatchObject({ outcome: 'miss' })
    expect(await restore({ ...store, accountKey: 'd3Jvbmc=' }, memory)).toMatchObject({
      outcome: 'denied',
      reason: expect.stringMatching(/Auth\w+/),
    })
    expect(() => openCache({ ...store, accountKey: 'no base64!' })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message: expect.not.stringContaining('no base64!') }),
    )
  })

  test('a connection string, of the location and of the environment', async ({ memory }) => {
    const text = `DefaultEndpointsProtocol=http;AccountName=${ACCOUNT};AccountKey=${ACCOUNT_KEY};BlobEndpoint=${server.endpoint};`
    const named: AzureLocation = { scheme: 'az', container: 'warmswap-test', connectionString: text }
    expect(await restore(named, memory)).toMatchObject({ outcome: 'miss' })
    process.env.AZURE_STORAGE_CONNECTION_STRING = text
    expect(await restore('az://warmswap-test/prefix', memory)).toMatchObject({ outcome: 'miss' })
  })

  test('account and key of the environment', async ({ memory }) => {
    Object.assign(process.env, { AZURE_STORAGE_ACCOUNT: ACCOUNT, AZURE_STORAGE_KEY: ACCOUNT_KEY })
    expect(await restore(bare(), memory)).toMatchObject({ outcome: 'miss' })
  })

  test('a signature, of the location and of the environment; one that permits to read only', async ({ memory }) => {
    expect(await restore({ ...bare(), sasToken: signature('rcwdl') }, memory)).toMatchObject({ outcome: 'miss' })
    process.env.AZURE_STORAGE_SAS_TOKEN = signature('rcwdl')
    expect(await restore(bare(), memory)).toMatchObject({ outcome: 'miss' })
    expect(await openCache({ ...bare(), sasToken: signature('rl') }).probe()).toMatchObject({ writable: false })
  })

  test('a managed identity, and a workload identity', async ({ memory }) => {
    const blobs = await opened(
      httpEndpoint(({ headers }, response) => {
        const isRight = headers.authorization === `Bearer ${TOKEN}`
        const code = isRight ? 'BlobNotFound' : 'InvalidAuthenticationInfo'
        response.writeHead(isRight ? 404 : 401, { 'x-ms-error-code': code }).end(`<Error><Code>${code}</Code></Error>`)
      }),
    )
    const identity = await opened(
      httpEndpoint(async (request, response) => {
        const body = await bodyOf(request)
        const isRight =
          request.headers.metadata === 'true' ||
          (request.url === '/tenant/oauth2/v2.0/token' && body.includes('assertion-of-the-pod'))
        const expires = String(Math.floor(Date.now() / 1000) + 3600)
        const token = { access_token: TOKEN, expires_in: 3600, expires_on: expires, token_type: 'Bearer' }
        response.writeHead(isRight ? 200 : 400, { 'content-type': 'application/json' }).end(JSON.stringify(token))
      }),
    )
    const store: AzureLocation = { ...bare(), endpoint: blobs.url, account: ACCOUNT }
    process.env.AZURE_IMDS_ENDPOINT = `${identity.url}/metadata/identity/oauth2/token`
    expect(await restore(store, memory)).toMatchObject({ outcome: 'miss' })
    process.env.AZURE_IMDS_ENDPOINT = `http://${NOBODY}/token`
    writeFileSync(join(memory, 'assertion'), 'assertion-of-the-pod')
    Object.assign(process.env, {
      AZURE_AUTHORITY_HOST: identity.url,
      AZURE_TENANT_ID: 'tenant',
      AZURE_CLIENT_ID: 'client',
      AZURE_FEDERATED_TOKEN_FILE: join(memory, 'assertion'),
    })
    expect(await restore(store, memory)).toMatchObject({ outcome: 'miss' })
  })

  test('409 for a blob that exists is an answer, and not repeated like a conflict of S3', async ({ memory }) => {
    const { hostname, port, origin } = new URL(server.endpoint)
    const statuses: (number | undefined)[] = []
    const counted = await opened(
      httpEndpoint((request, response) => {
        const { method, url: path, headers } = request
        const onward = forward({ hostname, port, method, path, headers }, (answer) => {
          if (headers['if-none-match'] === '*') statuses.push(answer.statusCode)
          response.writeHead(answer.statusCode as number, answer.headers)
          answer.pipe(response)
        })
        request.pipe(onward)
      }),
    )
    const endpoint = server.endpoint.replace(origin, counted.url)
    const cache = openCache({ ...bare(), endpoint, account: ACCOUNT, accountKey: ACCOUNT_KEY })
    mkdirSync(join(memory, 'tree'))
    writeFileSync(join(memory, 'tree/file'), 'text')
    expect(await cache.snapshot({ key: 'site', from: join(memory, 'tree') })).toMatchObject({ outcome: 'uploaded' })
    // The test of conditions creates an object, and then tries to create it again.
    expect(statuses.slice(0, 2)).toEqual([201, 409])
    expect(statuses.filter((status) => status === 409)).toHaveLength(1)
  })

  test('no credentials, and no account: the reason names each place to set them', async ({ memory }) => {
    expect(await restore({ ...bare(), account: ACCOUNT }, memory)).toMatchObject({
      outcome: 'denied',
      stage: 'credentials',
      reason: expect.stringMatching(/AZURE_STORAGE_CONNECTION_STRING.*managed identity/),
    })
    expect(() => openCache('az://warmswap-test/prefix')).toThrow(/AZURE_STORAGE_ACCOUNT/)
  })
})
