/** Trust levels from environment variables, and the level of a CI job. */

import { readFileSync } from 'node:fs'
import { invalidArgument, WarmswapError } from '../native/errors.js'
import * as validate from '../native/validate.js'
import type { TrustOptions } from './trust-options.js'

type Env = Record<string, string | undefined>

/** The level of this process, or why it has none. */
export interface DetectedLevel {
  level?: string
  reason: string
  /** Whether the job belongs to a pull request, also one from a fork. */
  isPullRequest: boolean
}

/**
 * Reads `<PREFIX>_TRUST_LEVEL`, `_TRUST_SIGN_WITH` (the private key as PEM text), `_TRUST_KEYS` (public keys, such as
 * 'main=ed25519:…', separated by commas or white space) and `_TRUST_READS_FROM` from a record such as `process.env`.
 *
 * Without `_TRUST_LEVEL`, the level is 'pr-<number>' in a job of a pull request on GitHub Actions, or of a merge request in
 * GitLab CI, whose branch is in the same repository. In all other jobs there is no level, and the cache is read-only.
 * This is a convenience: the boundary is the credentials of the store.
 *
 * @param env The record.
 * @param prefix Start of the variable names.
 * @returns `trust` for `openCache()`, or undefined if none of the variables exists; and why the level is what it is.
 * @throws {WarmswapError} ERR_INVALID_ARGUMENT if a value does not have its form.
 */
export function cacheTrustFromEnv(
  env: Record<string, string | undefined>,
  prefix: string,
): { trust: TrustOptions | undefined; reason: string } {
  if (typeof env !== 'object' || env === null)
    throw invalidArgument('env', env, 'a record of strings, such as process.env')
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(validate.string('prefix', prefix)))
    throw invalidArgument('prefix', prefix, 'the start of a variable name')
  const read = (name: string): string | undefined => {
    const value = env[`${prefix}_TRUST_${name}`]
    if (value !== undefined && typeof value !== 'string')
      throw new WarmswapError('ERR_INVALID_ARGUMENT', `env.${prefix}_TRUST_${name} is not a string`)
    return value?.trim()
  }
  const values = [read('LEVEL'), read('SIGN_WITH'), read('KEYS'), read('READS_FROM')] as const
  if (values.every((value) => value === undefined))
    return { trust: undefined, reason: `no variable ${prefix}_TRUST_… is set` }
  // A secret or variable that CI does not have is an empty string there.
  const [level, signWith, keys, readsFrom] = values.map((value) => value || undefined)
  const detected: DetectedLevel =
    level === undefined ? levelOfCi(env) : { level, reason: `${prefix}_TRUST_LEVEL`, isPullRequest: false }
  const trust: TrustOptions = {}
  if (keys !== undefined) trust.trustedKeys = keysOf(`${prefix}_TRUST_KEYS`, keys)
  if (readsFrom !== undefined) trust.readsFrom = words(readsFrom)
  if (detected.level !== undefined) trust.level = detected.level
  // Without a level, a private key is of no use: the cache is read-only.
  if (signWith !== undefined && detected.level !== undefined) trust.signWith = signWith
  return { trust, reason: detected.reason }
}

const words = (text: string): string[] => text.split(/[\s,]+/).filter((word) => word !== '')

function keysOf(name: string, text: string): Record<string, string[]> {
  const levels = new Map<string, string[]>()
  for (const word of words(text)) {
    const [, level, key] = /^([^=]+)=(.+)$/.exec(word) ?? []
    if (level === undefined || key === undefined)
      throw new WarmswapError(
        'ERR_INVALID_ARGUMENT',
        `Invalid ${name}. Expected level=ed25519:…, separated by commas or white space`,
      )
    levels.set(level, [...(levels.get(level) ?? []), key])
  }
  return Object.fromEntries(levels)
}

/** The level of a job of a pull request, if its number and its origin are known. */
export function levelOfCi(env: Env): DetectedLevel {
  if (env.GITHUB_ACTIONS === 'true') return levelOnGitHub(env)
  if (env.GITLAB_CI === 'true') return levelOnGitLab(env)
  return none('this is no job of GitHub Actions or GitLab CI, and no level was given')
}

function levelOnGitHub(env: Env): DetectedLevel {
  const { GITHUB_EVENT_NAME: event = '', GITHUB_REF: ref = '', GITHUB_REPOSITORY: repository } = env
  if (!event.startsWith('pull_request')) return none(`the event '${event}' is not of a pull request`)
  // Its ref is the base branch, and it has the rights of the base branch.
  if (event === 'pull_request_target')
    return none("the event 'pull_request_target' names no ref of a pull request", true)
  const number = /^refs\/pull\/([1-9]\d{0,14})\/(?:merge|head)$/.exec(ref)?.[1]
  if (number === undefined) return none(`GITHUB_REF '${ref}' names no pull request`, true)
  const origin = headRepository(env.GITHUB_EVENT_PATH)
  if (origin === undefined || !repository) return none('the repository of the branch is unknown', true)
  if (origin.toLowerCase() !== repository.toLowerCase())
    return none(`the branch of pull request ${number} is in the fork ${origin}`, true)
  return {
    level: `pr-${number}`,
    reason: `GITHUB_REF is ${ref}, and its branch is in ${repository}`,
    isPullRequest: true,
  }
}

/** The repository of a pull request's branch, in the description of the event that the runner has written. */
function headRepository(path: string | undefined): string | undefined {
  if (!path) return undefined
  try {
    const event: unknown = JSON.parse(readFileSync(path, 'utf8'))
    const name = (event as { pull_request?: { head?: { repo?: { full_name?: unknown } } } }).pull_request?.head?.repo
      ?.full_name
    return typeof name === 'string' && name !== '' ? name : undefined
  } catch {
    return undefined
  }
}

function levelOnGitLab(env: Env): DetectedLevel {
  const {
    CI_MERGE_REQUEST_IID: number,
    CI_MERGE_REQUEST_PROJECT_ID: project,
    CI_MERGE_REQUEST_SOURCE_PROJECT_ID: source,
  } = env
  if (!number) return none('CI_MERGE_REQUEST_IID is not set: the pipeline is not of a merge request')
  if (!/^[1-9]\d{0,14}$/.test(number)) return none(`CI_MERGE_REQUEST_IID '${number}' is no number`, true)
  if (!project || !source) return none('the project of the branch is unknown', true)
  if (project !== source)
    return none(`the branch of merge request ${number} is in the fork with project id ${source}`, true)
  return {
    level: `pr-${number}`,
    reason: `CI_MERGE_REQUEST_IID is ${number}, and its branch is in this project`,
    isPullRequest: true,
  }
}

const none = (reason: string, isPullRequest = false): DetectedLevel => ({ reason, isPullRequest })
