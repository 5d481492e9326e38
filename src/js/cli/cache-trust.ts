/** `warmswap cache trust`: what this process may read and write, and why; `keygen` makes the key pair of a level. */

import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { openCache, type TrustOptions } from '../caches/index.js'
import { levelOfCi, publicKeyText, trustPlan } from '../caches/trust.js'
import { isWarmswapError } from '../native/errors.js'
import { type OptionKind, parse, splitCommand, type Values, wrongArguments } from './arguments.js'
import { HELP, OPTIONS } from './cache-help.js'
import { type OpenValues, trustOf } from './cache-open.js'
import { inShellWords } from './cache-report.js'

type Given = Values<(typeof OPTIONS)['trust']> & Values<{ json: 'flag'; quiet: 'flag' }>

/** The arguments, if they are those of `trust`. */
export function trustArguments(args: string[]): { values: Given; words: string[] } | undefined {
  const all: Record<string, OptionKind> = Object.assign({}, ...Object.values(OPTIONS))
  const { name, rest } = splitCommand(all, args)
  if (name !== 'trust') return undefined
  const { values, positionals } = parse('cache trust', HELP, OPTIONS.trust as Record<string, OptionKind>, rest, {
    max: 2,
    what: "no argument, or 'keygen' and a file",
  })
  return { values: values as Given, words: positionals }
}

export async function cacheTrust({ values, words }: { values: Given; words: string[] }): Promise<number> {
  const [word, file] = words
  if (word === 'keygen') return keygen(file, values)
  if (word !== undefined) throw wrongArguments(`unknown word '${word}' of 'warmswap cache trust'. Expected keygen`)
  const report = await trustReport(values)
  if (values.json) console.log(JSON.stringify(report))
  else if (!values.quiet) console.log(describe(report))
  for (const warning of report.warnings) console.error(`warmswap: ${warning}`)
  return report.warnings.length === 0 ? 0 : 1
}

/** Makes a key pair. Never replaces a file: it can be the only copy of another key. */
function keygen(file: string | undefined, values: Given): number {
  if (file === undefined) throw wrongArguments("the file is missing. Expected 'keygen' and the file of the private key")
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const text = privateKey.export({ type: 'pkcs8', format: 'pem' })
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const advice = code === 'EEXIST' ? '. It exists and was not changed: name another file' : ''
    throw wrongArguments(`'${file}' cannot be written: ${code}${advice}`)
  }
  // The last 32 bytes of SubjectPublicKeyInfo are the key itself.
  const shown = publicKeyText(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32))
  console.log(values.json ? JSON.stringify({ outcome: 'generated', privateKeyFile: file, publicKey: shown }) : shown)
  if (!values.json && !values.quiet)
    console.error(
      `warmswap: the private key is in '${file}': a secret for the jobs of one level. The public key is printed for --trusted-key`,
    )
  return 0
}

interface LevelReport {
  level: string
  path: string
  isOwn: boolean
  trustedKeys: string[]
  /** Whether the store lets this process write there. Only with --probe. */
  storeAllowsWrites?: boolean
}

interface TrustReport {
  outcome: 'trust' | 'no-trust'
  /** Why the level is what it is. */
  why: string
  level?: string
  writes?: { level: string; path: string }
  /** Why nothing is written. */
  readOnly?: string
  reads: LevelReport[]
  warnings: string[]
}

async function trustReport(values: Given): Promise<TrustReport> {
  const { trust, reason } = trustOf(values as OpenValues)
  const store = values.store ?? process.env.WARMSWAP_STORE
  if (trust === undefined) {
    const warnings = [
      'no trust levels: each writer of the store, or each holder of $WARMSWAP_HMAC_KEY, decides what this process restores',
    ]
    return { outcome: 'no-trust', why: reason, reads: [], warnings }
  }
  const { readOnly, reads } = planned(trust)
  const path = (level: string): string => `${store === undefined ? '' : folderOf(store)}.warmswap-level/${level}/`
  const report: TrustReport = {
    outcome: 'trust',
    why: reason,
    ...(trust.level !== undefined && { level: trust.level }),
    reads: reads.map(({ level, keys }) => ({
      level,
      path: path(level),
      isOwn: level === trust.level,
      trustedKeys: keys.map(publicKeyText),
    })),
    warnings: [],
  }
  const why = values['read-only'] ? '--read-only' : readOnly && inShellWords(readOnly)
  if (why !== undefined) report.readOnly = why
  else if (trust.level !== undefined) report.writes = { level: trust.level, path: path(trust.level) }
  const { isPullRequest } = levelOfCi(process.env)
  if (isPullRequest && report.writes !== undefined && !/^pr-\d+$/.test(report.writes.level))
    report.warnings.push(`this job is of a pull request, and it has the private key of level '${report.writes.level}'`)
  if (values.probe) await probe(report, store)
  return report
}

/** The plan of the addon. Errors name the options of the command line. */
function planned(trust: TrustOptions): ReturnType<typeof trustPlan> {
  try {
    return trustPlan(trust)
  } catch (error) {
    if (isWarmswapError(error) && error.code === 'ERR_INVALID_ARGUMENT')
      throw wrongArguments(inShellWords(error.message))
    throw error
  }
}

/** The location of a store without its options, with a slash at the end. */
function folderOf(store: string): string {
  const [place = ''] = store.split('?')
  return place.endsWith('/') ? place : `${place}/`
}

/** Tries to write a small object to each level, and removes it again. A key pair made for this signs nothing. */
async function probe(report: TrustReport, store: string | undefined): Promise<void> {
  if (store === undefined)
    throw wrongArguments('--store is missing. Expected the URL of a store, here or in WARMSWAP_STORE')
  const { privateKey } = generateKeyPairSync('ed25519')
  const signWith = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  for (const read of report.reads) {
    await using cache = openCache(store, { trust: { level: read.level, signWith } })
    const { writable } = await cache.probe()
    read.storeAllowsWrites = writable
    if (writable && !read.isOwn)
      report.warnings.push(
        `the store lets this process write to level '${read.level}', which is not its own. Check its policy`,
      )
    if (!writable && report.writes?.level === read.level)
      report.warnings.push(
        `the store does not let this process write to its own level '${read.level}'. Check its policy`,
      )
  }
}

function describe(report: TrustReport): string {
  if (report.outcome === 'no-trust') return `no trust levels: ${report.why}`
  const lines = [
    `level   ${report.level ?? 'none'}: ${report.why}`,
    `writes  ${report.writes?.path ?? `nothing: ${report.readOnly}`}`,
  ]
  report.reads.forEach(({ level, path, isOwn, trustedKeys, storeAllowsWrites }, index) => {
    const access =
      storeAllowsWrites === undefined ? '' : `, the store ${storeAllowsWrites ? 'allows' : 'denies'} writes`
    const place = `${index + 1}. ${path} (${isOwn ? 'own level' : `level ${level}`}${access})`
    lines.push(`${index === 0 ? 'reads ' : '      '}  ${place}`)
    for (const key of trustedKeys) lines.push(`           signed with ${key}`)
  })
  return lines.join('\n')
}
