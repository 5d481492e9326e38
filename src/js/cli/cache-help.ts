/** Options and help of `warmswap cache`. */

import type { OptionKind } from './arguments.js'

const TRUST = { 'trust-level': 'text', 'sign-with': 'text', 'trusted-key': 'list', 'reads-from': 'list' } as const
const STORE = { ...TRUST, store: 'text', 'deadline-ms': 'text', 'idle-ms': 'text', attempts: 'text' } as const
const KEY = { ...STORE, key: 'text' } as const
const LIMITS = {
  'max-bytes': 'text',
  'max-files': 'text',
  'max-file-bytes': 'text',
  'max-ratio': 'text',
  'max-memory-bytes': 'text',
  'min-free-bytes': 'text',
} as const

/** Options of each command. */
export const OPTIONS = {
  save: {
    ...KEY,
    ...LIMITS,
    preset: 'text',
    exclude: 'list',
    'allow-shrink': 'flag',
    'quiet-ms': 'text',
    fingerprint: 'text',
    level: 'text',
    ticket: 'text',
    conditions: 'text',
    'read-only': 'flag',
  },
  restore: {
    ...KEY,
    ...LIMITS,
    'fallback-key': 'list',
    mode: 'text',
    symlinks: 'text',
    duplicates: 'text',
    expect: 'list',
    concurrency: 'text',
    required: 'flag',
    'read-only': 'flag',
  },
  inspect: { ...KEY, 'read-only': 'flag' },
  ensure: {
    ...KEY,
    ...LIMITS,
    into: 'text',
    fingerprint: 'text',
    'fingerprint-file': 'list',
    'restore-deadline-ms': 'text',
    'upload-deadline-ms': 'text',
    'ttl-ms': 'text',
    'on-failure': 'text',
    mode: 'text',
    symlinks: 'text',
    level: 'text',
    conditions: 'text',
    'read-only': 'flag',
  },
  prune: { ...KEY, keep: 'text', 'older-than-ms': 'text', 'read-only': 'flag' },
  remove: { ...KEY, 'read-only': 'flag' },
  probe: { ...STORE, 'read-only': 'flag' },
  trust: { ...TRUST, store: 'text', probe: 'flag', 'read-only': 'flag' },
} as const satisfies Record<string, Record<string, OptionKind>>

/** The commands that are one call of a cache. `ensure` and `trust` are in files of their own. */
export type CacheCommand = Exclude<keyof typeof OPTIONS, 'ensure' | 'trust'>

export const HELP = `Usage:
  warmswap cache save <directory> --store <url> --key <key>      make a directory the next generation of a key
  warmswap cache restore <directory> --store <url> --key <key>   write the tree of a key to the directory
  warmswap cache ensure --store <url> --key <key> --into <directory> --fingerprint <text> -- <command>
                                                                 restore the tree of a fingerprint; or one of all callers
                                                                 builds it with the command while the others wait
  warmswap cache inspect --store <url> --key <key>               print what a key holds
  warmswap cache prune --store <url> --key <key>                 remove generations that are no longer needed
  warmswap cache remove --store <url> --key <key>                remove a key with all its objects
  warmswap cache probe --store <url>                             print what the store can do
  warmswap cache trust [--probe]                                 print what this process may read and write, and why
  warmswap cache trust keygen <file>                             make a key pair: the private key in a new file, the public
                                                                 key on standard output

All commands:
  --store <url>          file:///folder, s3://bucket/prefix?region=…&endpoint=…, gs://bucket/prefix or
                         az://container/prefix?account=… . Default: $WARMSWAP_STORE
  --key <key>            name of the cache. Default: $WARMSWAP_KEY
  --deadline-ms <time>   limit for the whole call, such as 60000, 60s or 5min
  --idle-ms <time>       longest silence of a connection. Default 3s
  --attempts <n>         how often one request is tried. Default 3
  --read-only            never write to the store
  --json                 print one JSON object with raw numbers, and no progress
  -q, --quiet            print failures only
  -h, --help             print this text
  -v, --version          print the version of warmswap
restore:
  --mode <mode>          if-empty (default), replace or merge
  --fallback-key <key>   tried where the key has nothing that can be used. Repeatable
  --symlinks <mode>      which links are made: contained (default) those that stay in the tree, relative all relative ones
                         (workspaces of npm, pnpm and bun), verbatim all (a Python venv, the cache of bun), reject none
  --duplicates <mode>    a path that the archive has twice: replace (default) or reject
  --expect <name=value>  platform, arch, libc or fingerprint that the tree must have been saved with. Repeatable
  --required             a miss is a failure: exit code 3. Default: exit code 0, because a cold cache is no error
  --concurrency <n>      connections at the same time. Default 8
save:
  --preset <preset>      deno, node_modules, vite or none (default): what is left out
  --exclude <glob>       left out. Repeatable
  --fingerprint <text>   recorded for --expect fingerprint=…, such as a hash of the lock file
  --level <n>            compression, -7 to 19. Default 3
  --ticket <ticket>      of the restore that this tree was built on: replaces only what that restore read
  --conditions <mode>    conditional writes, so that one of two concurrent writers loses: auto (default) where the store has
                         them, required (else the outcome is unguarded) or off
  --allow-shrink         accept a tree that is much smaller than the current one
  --quiet-ms <time>      wait until the tree has been unchanged for this time
ensure:
  --into <directory>     where the tree is written. Unchanged if the command fails
  --fingerprint <text>   identifies the inputs of the command, such as a version
  --fingerprint-file <file>  as --fingerprint, by the content of a file, such as a lock file. Repeatable
  --deadline-ms <time>   how long to wait for other callers; then it builds alone. Default: no limit
  --restore-deadline-ms, --upload-deadline-ms <time>  limits of the transfers. Default 120s each
  --ttl-ms <time>        how long a builder may be silent before another one takes over. Default 30s
  --on-failure <mode>    a failed command also fails the callers that waited for it (share, default), or one of them runs
                         its own (retry)
  --mode <mode>          if-empty (default) or replace
  The command writes into the directory in $WARMSWAP_BUILD_DIR. It gets SIGTERM if the lease is lost, and can be started
  again then. With --json its standard output goes to standard error.
prune:
  --keep <n>             generations to keep, the current one included
  --older-than-ms <time> keep everything younger. Default 1h
Limits of save and restore: --max-bytes, --max-files, --max-file-bytes, --max-ratio, --max-memory-bytes, --min-free-bytes.
Sizes are written as 500MB or 2GiB. Where a restore with the defaults refuses what 'save' accepts, 'save' names the option.
A key is signed and verified with $WARMSWAP_HMAC_KEY if that is set.
Trust levels, for all commands:
  --trust-level <level>  the level of this process, such as main. Default: $WARMSWAP_TRUST_LEVEL, else pr-<number> for a pull
                         request from the same repository (GitHub Actions, GitLab CI), else none: read-only
  --sign-with <file>     private key of the level, from 'trust keygen'. Default: the text in $WARMSWAP_TRUST_SIGN_WITH
  --trusted-key <level=key>  public key of a level. Repeatable. Default: $WARMSWAP_TRUST_KEYS, separated by commas
  --reads-from <level>   level to read, in this order. Repeatable. Default: $WARMSWAP_TRUST_READS_FROM, else all levels with a
                         public key. The own level is read first unless it is named
  --probe                (trust) check which levels the store lets this process write to, with small objects that are removed
                         again. Exit code 1 if it is another level than the own one

Exit codes ('ensure' has that of the command if the command fails):
  0  done, unchanged, or nothing under the key (restore without --required)
  1  failed, or the store does not accept the credentials
  2  wrong arguments, or the directory to save does not exist
  3  nothing under the key (restore --required, inspect), or disabled (--read-only)
  4  timeout or unavailable
  5  corrupt, refused or incompatible
  6  not done on purpose: empty, shrunk, unguarded, unstable, superseded, target-not-empty or busy
  128 + n  ended by signal n, and nothing was changed`
