/** Azurite, the emulator of Azure Blob Storage. It verifies signatures. */

import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import type { AzureLocation } from 'warmswap'
// @ts-expect-error: a script without types
import { ensureNpm } from '../../scripts/lib/setup.js'
import { repository } from './paths.js'
import { type BucketServer, type RawObjects, send } from './servers.js'

/** The account of each Azurite, with a key that its documentation publishes. */
export const ACCOUNT = 'devstoreaccount1'
export const ACCOUNT_KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

const CONTAINER = 'warmswap-test'

export interface AzuriteServer extends BucketServer {
  store(prefix?: string): AzureLocation
  raw(prefix: string): RawObjects
}

/** A request that is signed with the key of the account. */
async function signed(
  url: string,
  method: string,
  headers: Record<string, string> = {},
  body?: Buffer,
): Promise<Buffer> {
  const { pathname, searchParams } = new URL(url)
  const all: Record<string, string> = {
    ...headers,
    'x-ms-date': new Date().toUTCString(),
    'x-ms-version': '2022-11-02',
  }
  const own = Object.entries(all).sort(([one], [other]) => (one < other ? -1 : 1))
  const query = [...searchParams].sort(([one], [other]) => (one < other ? -1 : 1))
  const length = body === undefined || body.length === 0 ? '' : String(body.length)
  const text = [
    method,
    ...['', '', length, '', '', '', '', '', '', '', ''],
    ...own.map(([name, value]) => `${name}:${value}`),
    [`/${ACCOUNT}${pathname}`, ...query.map(([name, value]) => `${name}:${value}`)].join('\n'),
  ].join('\n')
  const signature = createHmac('sha256', Buffer.from(ACCOUNT_KEY, 'base64')).update(text).digest('base64')
  return await send(url, method, {
    headers: { ...all, authorization: `SharedKey ${ACCOUNT}:${signature}` },
    ...(body !== undefined && { body: new Uint8Array(body) }),
  })
}

export async function startAzurite(): Promise<AzuriteServer> {
  const folder = ensureNpm('azurite', join(repository, '__test__/support/azurite')) as string
  const program = join(folder, 'node_modules/azurite/dist/src/blob/main.js')
  const options = ['--inMemoryPersistence', '--silent', '--disableTelemetry', '--skipApiVersionCheck']
  const child = spawn(process.execPath, [program, '--blobPort', '0', ...options], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const address = await new Promise<string>((resolve, reject) => {
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const [, url] = /listens on (http:\/\/\S+)/.exec(said) ?? []
      if (url !== undefined) resolve(url)
    })
    child.once('exit', (code) => reject(new Error(`azurite ended with code ${code}: ${said}`)))
  })
  const endpoint = `${address}/${ACCOUNT}`
  await signed(`${endpoint}/${CONTAINER}?restype=container`, 'PUT')
  return {
    endpoint,
    store: (prefix = '') => ({
      scheme: 'az',
      container: CONTAINER,
      prefix,
      account: ACCOUNT,
      accountKey: ACCOUNT_KEY,
      endpoint,
    }),
    raw(prefix) {
      const urlOf = (path: string): string => `${endpoint}/${CONTAINER}/${prefix}/${path}`
      return {
        async list() {
          const query = `restype=container&comp=list&prefix=${encodeURIComponent(`${prefix}/`)}`
          const text = String(await signed(`${endpoint}/${CONTAINER}?${query}`, 'GET'))
          return [...text.matchAll(/<Name>([^<]+)<\/Name>/g)].map(([, name]) =>
            (name as string).slice(prefix.length + 1),
          )
        },
        read: (path) => signed(urlOf(path), 'GET'),
        write: async (path, bytes) =>
          void (await signed(urlOf(path), 'PUT', { 'x-ms-blob-type': 'BlockBlob' }, Buffer.from(bytes))),
      }
    },
    async stop() {
      if (child.kill('SIGKILL')) await once(child, 'exit')
    },
  }
}
