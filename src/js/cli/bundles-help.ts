/** Options and help of `warmswap bundles`. */

import type { OptionKind } from './arguments.js'

const STORE = { store: 'text', timeout: 'text' } as const

/** Options of each command. */
export const OPTIONS = {
  ls: STORE,
  current: STORE,
  pins: STORE,
  verify: STORE,
  rollback: { ...STORE, link: 'text' },
  collect: { ...STORE, keep: 'text', 'grace-ms': 'text', 'max-bytes': 'text', 'max-age-ms': 'text' },
  publish: {
    ...STORE,
    link: 'text',
    adopt: 'flag',
    require: 'list',
    always: 'flag',
    fingerprint: 'text',
    meta: 'text',
    durability: 'text',
    keep: 'text',
    'grace-ms': 'text',
    'max-bytes': 'text',
    'max-age-ms': 'text',
  },
  run: { ...STORE, generation: 'text', name: 'text', expires: 'text', cwd: 'text' },
} as const satisfies Record<string, Record<string, OptionKind>>

export type BundlesCommand = keyof typeof OPTIONS

export const HELP = `Usage:
  warmswap bundles ls                     the generations of a store
  warmswap bundles current                the folder of the current generation
  warmswap bundles pins                   the names that keep generations, and until when
  warmswap bundles verify [generation]    compare a generation (default: the current one) with what was published
  warmswap bundles rollback <generation>  make an older generation current again
  warmswap bundles collect                remove generations that are not kept and not pinned
  warmswap bundles publish <directory>    make a copy of a directory the current generation, if it differs from that one
  warmswap bundles run [options] -- <command>
                                          run a command in the current generation, which is kept until it ends

All commands:
  --store <directory>    the store. Default: $WARMSWAP_BUNDLES, else the only store below .warmswap; publish makes
                         .warmswap/<name of the directory>
  --timeout <time>       longest wait for another writer, such as 5s. Default 30s
  --json                 print one JSON value (run: only for an error)
  -q, --quiet            print errors only; the output of the command of 'run' is not changed
  -h, --help             print this text
  -v, --version          print the version of warmswap
publish:
  --link <path>          a path, such as dist, that becomes a link to a copy of the current generation
  --adopt                allow --link to replace a directory with files, which is kept in the store
  --require <path>       a file that the directory must have. Repeatable
  --always               publish also if nothing has changed
  --fingerprint <text>   recorded with the generation, such as a hash of the sources
  --meta <json>          any JSON, recorded with the generation
  --durability <what>    what a publish survives: process (default), or power for power loss too
rollback:
  --link <path>          as for publish
collect and publish (kept in the store):
  --keep <n>             previous generations to keep. Default 1
  --grace-ms <time>      keep a generation for this time after it stopped being current, such as 10min. Default 0
  --max-bytes <size>     bound on all generations, such as 2GB; 'none' removes it
  --max-age-ms <time>    bound on the time since a generation stopped being current, such as 7d; 'none' removes it
run:
  --generation <n>       run in this generation. Default: the current one
  --name <name>          run in the generation that has this name, or give the name to it. It outlives the command
  --expires <time>       when the name ends, from now. Default 1d
  --cwd <directory>      working directory. Default: the generation. $WARMSWAP_GENERATION is its number, and
                         $WARMSWAP_GENERATION_PATH its folder

Exit codes:
  0    done, also if nothing had changed
  1    failed
  2    wrong arguments, or there is no store
  3    nothing is published, or the generation does not exist
  4    timeout: another writer holds the store, or the directory did not stop changing
  5    the generation is damaged: files are missing or altered (verify: or added)
  6    not done on purpose: the directory is empty, or a required file is missing
  126, 127 run: the command cannot be started
  128 + n  run: ended by signal n
  else run: the exit code of the command`
