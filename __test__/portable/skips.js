/**
 * The cases that are expected to fail, for each platform, with the reason. A case that fails and is not listed fails the
 * run. Listed cases run too, and the report names those that pass.
 *
 * Platforms: linux-x64-gnu, linux-arm64-gnu, linux-x64-musl, linux-arm64-musl, darwin-x64, darwin-arm64, win32-x64,
 * win32-arm64, win32-x64-wine; bun and deno for these runtimes on Linux x64.
 *
 * @type {{ platforms: string[], cases: string[], reason: string }[]}
 */
const table = []

/** The names of the cases that are expected to fail on a platform, and why. */
export function skips(platform) {
  const listed = new Map()
  for (const { platforms, cases, reason } of table)
    if (platforms.includes(platform)) for (const name of cases) listed.set(name, reason)
  return listed
}
