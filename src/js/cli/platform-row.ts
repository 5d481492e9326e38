/** The row of docs/reference/platforms.md that describes this machine and runtime. */

import type { Finding } from './doctor-findings.js'

/** What is known about warmswap on a platform or in a runtime. docs/reference/platforms.md has the same table. */
interface PlatformRow {
  name: string
  built: string
  tested: string
  guarantees: string
}

const WHOLE = 'all guarantees'

export const PLATFORM_ROWS: readonly PlatformRow[] = [
  { name: 'linux-x64-gnu', built: 'yes', tested: 'every test', guarantees: WHOLE },
  {
    name: 'linux-x64-musl',
    built: 'yes',
    tested: 'portable suite, with a Node that is built for musl',
    guarantees: `${WHOLE}; times are not measured`,
  },
  {
    name: 'linux-arm64-gnu',
    built: 'yes',
    tested: 'portable suite, in emulation (qemu-user)',
    guarantees: `${WHOLE}; times are not measured`,
  },
  {
    name: 'linux-arm64-musl',
    built: 'yes',
    tested: 'portable suite, in emulation (qemu-user)',
    guarantees: `${WHOLE}; times are not measured`,
  },
  {
    name: 'darwin-x64, darwin-arm64',
    built: 'for tests',
    tested: 'types, lints and link only: no Mac has run it yet',
    guarantees: 'expected as on Linux, but not seen; no exchange of directories on HFS+',
  },
  {
    name: 'win32-x64',
    built: 'for tests (GNU ABI)',
    tested: 'portable suite under Wine; no Windows has run it yet',
    guarantees: 'expected; see "Windows" in docs/reference/platforms.md',
  },
  {
    name: 'win32-arm64',
    built: 'for tests (GNU ABI)',
    tested: 'types, lints and link only: no Windows on arm64 has run it yet',
    guarantees: 'expected as on win32-x64',
  },
  { name: 'Bun', built: 'as on its platform', tested: 'portable suite on linux-x64-gnu', guarantees: WHOLE },
  {
    name: 'Deno',
    built: 'as on its platform',
    tested: 'portable suite on linux-x64-gnu, with all permissions',
    guarantees: `${WHOLE}; worker.terminate() of Deno resolves before the pins and locks of the thread are released`,
  },
]

/** The platform of this process, as in the names of the packages. */
function platformName(): string {
  if (process.platform !== 'linux') return `${process.platform}-${process.arch}`
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return `linux-${process.arch}-${report?.header?.glibcVersionRuntime === undefined ? 'musl' : 'gnu'}`
}

const rowOf = (name: string): PlatformRow | undefined =>
  PLATFORM_ROWS.find((row) => row.name.split(', ').includes(name))

/** The rows of this machine and, in Bun and Deno, of the runtime. */
export function platformFindings(): Finding[] {
  const runtime = process.versions.bun ? 'Bun' : process.versions.deno ? 'Deno' : undefined
  return [platformName(), runtime].flatMap((name) => {
    if (name === undefined) return []
    const { built = 'no', tested = 'no', guarantees = 'only what works without the addon' } = rowOf(name) ?? {}
    const text = `${name}. Built: ${built}. Tested: ${tested}. Holds: ${guarantees}`
    return [{ name: 'platform', text, facts: { row: name, built, tested, guarantees } }]
  })
}
