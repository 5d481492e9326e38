/** `warmswap doctor [directory]`: the guarantees that hold here, why, and what to do about the missing ones. */

import { resolve } from 'node:path'
import { messageOf } from '../native/callbacks.js'
import { native, unwrap } from '../native/native.js'
import { parse } from './arguments.js'
import {
  cacheFindings,
  type Finding,
  limitFindings,
  lockFindings,
  storeFindings,
  versionFindings,
} from './doctor-findings.js'
import { platformFindings } from './platform-row.js'

const HELP = `Usage: warmswap doctor [directory] [--store <url>]
Examines the versions of addon and JavaScript; the filesystem of the directory (default: the current one) and what it
guarantees; stores of bundles up to four levels below the directory, with their links and set-aside trees; locks of dead
holders in the directory; and the limits of watchers and open files.

  --store <url>     also check a cache location: reachability and permissions, with a small object that is removed again.
                    Default: $WARMSWAP_STORE
  --json            print one JSON object
  -q, --quiet       print problems only
  -h, --help        print this text
  -v, --version     print the version of warmswap

Exit codes: 0 no problem, 1 a problem was found, 2 wrong arguments`

export async function doctor(args: string[]): Promise<number> {
  const { values, positionals } = parse('doctor', HELP, { store: 'text' }, args, {
    max: 1,
    what: 'at most one directory',
  })
  const path = resolve(positionals[0] ?? '.')
  const findings = await examine(path, values.store ?? process.env.WARMSWAP_STORE)
  const problems = findings.filter(({ isProblem }) => isProblem)
  if (values.json) {
    console.log(
      JSON.stringify({
        ok: problems.length === 0,
        platform: process.platform,
        arch: process.arch,
        node: process.version,
        findings: findings.map(({ name, text, isProblem = false, facts }) => ({
          name,
          problem: isProblem,
          text,
          ...facts,
        })),
      }),
    )
  } else {
    if (!values.quiet) console.log(`warmswap on ${process.platform} ${process.arch}, Node ${process.version}`)
    for (const { name, text } of values.quiet ? problems : findings) console.log(`${name.padEnd(11)} ${text}`)
  }
  return problems.length === 0 ? 0 : 1
}

async function examine(path: string, store: string | undefined): Promise<Finding[]> {
  const versions = [...versionFindings(), ...platformFindings()]
  try {
    native()
  } catch (error) {
    return [
      ...versions,
      { name: 'addon', text: `missing: ${messageOf(error)}`, isProblem: true },
      ...['bundles', 'locks', 'caches'].map((name) => ({
        name,
        text: 'no: needs the addon',
        facts: { available: false },
      })),
      {
        name: 'state',
        text: 'yes: in JavaScript, each thread and each vm context for itself',
        facts: { available: true },
      },
    ]
  }
  const filesystem = unwrap(native().filesystemOf(path))
  return [
    ...versions,
    ...filesystemFindings(path, filesystem),
    // Stores are only opened on such filesystems.
    ...(filesystem.trusted ? storeFindings(path) : []),
    ...(await lockFindings(path)),
    ...limitFindings(),
    ...(store === undefined ? [] : await cacheFindings(store)),
  ]
}

function filesystemFindings(path: string, { name, trusted }: { name: string; trusted: boolean }): Finding[] {
  const why = trusted
    ? `flock of ${name} excludes between all processes of this kernel`
    : `the flock of ${name} is not on the allow list`
  return [
    { name: 'directory', text: path, facts: { path } },
    { name: 'filesystem', text: name, facts: { filesystem: name, trusted } },
    {
      name: 'bundles',
      text: `${trusted ? 'yes' : 'no: put the store on a local filesystem and use link'} (${why})`,
      facts: { available: trusted },
    },
    {
      name: 'locks',
      text: trusted
        ? 'kernel mode: a dead holder is noticed at once'
        : 'lease mode: a dead holder is noticed when its lease ends',
      facts: { available: true, mode: trusted ? 'kernel' : 'lease' },
    },
    {
      name: 'caches',
      text: 'yes: staged beside the target, committed by the method that its mount supports',
      facts: { available: true },
    },
    { name: 'state', text: 'yes: native root', facts: { available: true } },
  ]
}
