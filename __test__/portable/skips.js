/**
 * The cases that are expected to fail, for each platform, with the reason. A case that fails and is not listed fails the
 * run. Listed cases run too, and the report names those that pass.
 *
 * Platforms: linux-x64-gnu, linux-arm64-gnu, linux-x64-musl, linux-arm64-musl, darwin-x64, darwin-arm64, win32-x64,
 * win32-arm64, win32-x64-wine; win32-x64-user for a user of Windows without the privilege to make symbolic links; bun and
 * deno for these runtimes on Linux x64.
 *
 * @type {{ platforms: string[], cases: string[], reason: string }[]}
 */
const table = [
  {
    platforms: ['win32-x64-wine'],
    cases: [
      'bundles: a symbolic link is kept as it is',
      'bundles: the option link makes a path that has the current files',
      'bundles: a pointer that another system has written is read, and the next publish replaces it',
      'archives: a symbolic link that stays in the tree is made',
    ],
    reason: 'Wine makes no symbolic links: CreateSymbolicLinkW reports success and does nothing',
  },
  {
    platforms: ['win32-x64-user'],
    cases: [
      'bundles: a symbolic link is kept as it is',
      'bundles: a pointer that another system has written is read, and the next publish replaces it',
      'archives: a symbolic link that stays in the tree is made',
    ],
    reason: 'this user may not make symbolic links, and a junction leads to directories only',
  },
  {
    platforms: ['win32-x64-wine'],
    cases: ['archives: a junction in the tree is packed as a relative link'],
    reason: 'Wine makes no junctions: FSCTL_SET_REPARSE_POINT is not supported',
  },
  {
    platforms: ['win32-x64-wine'],
    cases: ['locks: another process sees the progress of a holder'],
    reason: 'Wine replaces no file that is open (no FileRenameInformationEx), and a holder has its record open',
  },
  {
    platforms: ['win32-x64-wine'],
    cases: ['fixtures: the generations of a store, written on linux-x64-gnu'],
    reason: 'the pointer of a store is a symbolic link on Linux, and Wine makes none from the archive',
  },
]

/** The names of the cases that are expected to fail on a platform, and why. */
export function skips(platform) {
  const listed = new Map()
  for (const { platforms, cases, reason } of table)
    if (platforms.includes(platform)) for (const name of cases) listed.set(name, reason)
  return listed
}
