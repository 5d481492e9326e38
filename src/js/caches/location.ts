/**
 * Locations of stores: a URL, or an object with the same fields. Error messages never contain a value that can be a
 * secret.
 */

import { fileURLToPath } from 'node:url'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as validate from '../native/validate.js'
import type { S3Location } from './location-types.js'

/**
 * Reads `<PREFIX>_S3_BUCKET`, `_S3_REGION`, `_S3_KEY`, `_S3_ENDPOINT`, `_S3_PREFIX`, `_S3_PROFILE`,
 * `_S3_ACCESS_KEY_ID`, `_S3_SECRET_ACCESS_KEY` and `_S3_SESSION_TOKEN` from a record such as `process.env`. Without a
 * bucket, `store` is undefined, and every call on the cache ends as 'disabled'.
 *
 * @param env The record.
 * @param prefix Start of the variable names.
 * @param defaults Values for variables that are not set.
 * @returns `store` for `openCache()`, and `key` if `<PREFIX>_S3_KEY` is set.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if a value is not a string.
 */
export function cacheLocationFromEnv(
  env: Record<string, string | undefined>,
  prefix: string,
  defaults: {
    /** Region for `<PREFIX>_S3_REGION`. */
    region?: string
  } = {},
): { store: S3Location | undefined; key?: string } {
  if (typeof env !== 'object' || env === null)
    throw invalidArgument('env', env, 'a record of strings, such as process.env')
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(validate.string('prefix', prefix)))
    throw invalidArgument('prefix', prefix, 'the start of a variable name')
  const { region: defaultRegion } = validate.options('defaults', defaults, ['region'])
  const read = (name: string): string | undefined => {
    const value = env[`${prefix}_S3_${name}`]
    if (value !== undefined && typeof value !== 'string')
      throw new WarmswapError('ERR_INVALID_ARGUMENT', `env.${prefix}_S3_${name} is not a string`)
    return value?.trim() || undefined
  }
  const bucket = read('BUCKET')
  const key = read('KEY')
  const found = key === undefined ? {} : { key }
  if (bucket === undefined) return { store: undefined, ...found }
  const options = {
    bucket,
    prefix: read('PREFIX'),
    region:
      read('REGION') ?? (defaultRegion === undefined ? undefined : validate.string('defaults.region', defaultRegion)),
    endpoint: read('ENDPOINT'),
    profile: read('PROFILE'),
    accessKeyId: read('ACCESS_KEY_ID'),
    secretAccessKey: read('SECRET_ACCESS_KEY'),
    sessionToken: read('SESSION_TOKEN'),
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return { store: { scheme: 's3', bucket, ...given }, ...found }
}

/** The scheme and options in the form that the addon expects. */
export function parseStoreLocation(store: unknown): { scheme: string; options: Record<string, string> } | undefined {
  if (store === undefined) return undefined
  if (typeof store === 'string') return withAsciiHost(parseUrl(store))
  if (typeof store !== 'object' || store === null)
    throw invalidArgument('store', store, "a URL such as 's3://bucket/prefix', an object with a scheme, or undefined")
  const { scheme, ...options } = store as Record<string, unknown>
  const given: Record<string, string> = {}
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (typeof value !== 'string' && typeof value !== 'boolean')
      throw new WarmswapError('ERR_INVALID_ARGUMENT', `Invalid store.${name}. Expected a string, true or false`)
    given[name] = String(value)
  }
  return withAsciiHost({ scheme: validate.string('store.scheme', scheme), options: given })
}

/**
 * The location with the host of its endpoint in ASCII, such as `https://xn--bcher-kva.example`. The addon refuses other
 * hosts: it has no Unicode tables for them.
 */
function withAsciiHost<T extends { options: Record<string, string> }>(location: T): T {
  const { endpoint } = location.options
  if (endpoint === undefined || !/[^ -~]/.test(endpoint) || !URL.canParse(endpoint)) return location
  const { origin, username, password, pathname, search } = new URL(endpoint)
  // The addon refuses credentials.
  if (origin === 'null' || username !== '' || password !== '') return location
  return { ...location, options: { ...location.options, endpoint: `${origin}${pathname.replace(/\/$/, '')}${search}` } }
}

/** The option of each store that is a path in it. */
const PATHS: Record<string, string> = { file: 'path', memory: 'name', s3: 'prefix', gs: 'prefix', az: 'prefix' }

/**
 * The location of a store whose path ends with a key: the scheme, the options of the store above the key, the key, and a
 * URL for messages. The key is the last part of the path.
 */
export function parseKeyLocation(store: unknown): {
  scheme: string
  options: Record<string, string>
  key: string
  url: string
} {
  const { scheme, options } = parseStoreLocation(store) ?? { scheme: '', options: {} }
  const name = PATHS[scheme]
  // The addon refuses the scheme.
  if (name === undefined) return { scheme, options, key: 'key', url: `${scheme}:` }
  const path = (options[name] ?? '').replace(/[\\/]+$/, '')
  const [, above = '', key = ''] = /^(.*?)[\\/]*([^\\/]*)$/.exec(path) ?? []
  if (key === '')
    throw invalidArgument(
      typeof store === 'string' ? 'path' : `path.${name}`,
      path,
      `a store and a key in it, such as '${EXAMPLES[scheme]}'`,
    )
  const owner = options.bucket ?? options.container
  const bucket = owner === undefined ? '' : `${owner}/`
  const slashes = scheme === 'memory' ? '' : '//'
  return {
    scheme,
    options: { ...options, [name]: scheme === 'file' && above === '' ? '/' : above },
    key,
    url: `${scheme}:${slashes}${bucket}${path}`,
  }
}

const EXAMPLES: Record<string, string> = {
  file: 'file:///var/store/key',
  memory: 'memory:name/key',
  s3: 's3://bucket/prefix/key',
  gs: 'gs://bucket/prefix/key',
  az: 'az://container/prefix/key',
}

/** Options that a URL must not have, and those of an object that replace them. */
const SECRETS = [
  'accessKeyId',
  'secretAccessKey',
  'sessionToken',
  'token',
  'accountKey',
  'sasToken',
  'connectionString',
]
const SECRETS_OF: Record<string, string> = {
  'gs:': 'token or credentialsFile',
  'az:': 'accountKey, sasToken or connectionString',
}

function parseUrl(text: string): { scheme: string; options: Record<string, string> } {
  const refuse = (why: string): WarmswapError =>
    new WarmswapError(
      'ERR_INVALID_ARGUMENT',
      `Invalid store: ${why}. Expected 'file:///absolute/folder', 's3://bucket/prefix?region=…&endpoint=…', 'gs://bucket/prefix', 'az://container/prefix?account=…' or 'memory:name'`,
    )
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw refuse('it is not a URL')
  }
  // In a URL they would appear in process lists and logs. Objects and the environment do not have this problem.
  const holdsCredentials =
    url.username !== '' || url.password !== '' || SECRETS.some((name) => url.searchParams.has(name))
  if (holdsCredentials)
    throw refuse(
      `it holds credentials; set them in the environment, or pass an object with ${SECRETS_OF[url.protocol] ?? 'accessKeyId and secretAccessKey'}`,
    )
  const query: Record<string, string> = {}
  for (const [name, value] of url.searchParams) {
    if (Object.hasOwn(query, name)) throw refuse(`it names ${name} twice`)
    query[name] = value
  }
  const decoded = (part: string): string => {
    try {
      return decodeURIComponent(part)
    } catch {
      throw refuse("a '%' in it is not followed by two hexadecimal digits of UTF-8")
    }
  }
  switch (url.protocol) {
    case 'file:':
      if (url.host !== '') throw refuse('it names a host')
      // Otherwise 'file:cache' would be the folder '/cache'.
      if (!/^\s*file:[/\\]/i.test(text)) throw refuse('its folder is not absolute')
      url.search = ''
      return { scheme: 'file', options: { ...query, path: filePath(url, refuse) } }
    case 'memory:':
      return { scheme: 'memory', options: { ...query, name: decoded(url.pathname.replace(/^\/+/, '') || url.host) } }
    case 's3:':
    case 'gs:':
    case 'az:': {
      const name = url.protocol === 'az:' ? 'container' : 'bucket'
      if (url.hostname === '') throw refuse(`it names no ${name}`)
      return {
        scheme: url.protocol.slice(0, -1),
        options: { ...query, [name]: url.hostname, prefix: decoded(url.pathname).replace(/^\/+|\/+$/g, '') },
      }
    }
    default:
      throw refuse(`its scheme is '${url.protocol.slice(0, -1)}'`)
  }
}

function filePath(url: URL, refuse: (why: string) => WarmswapError): string {
  try {
    return fileURLToPath(url)
  } catch (error) {
    throw refuse((error as Error).message)
  }
}
