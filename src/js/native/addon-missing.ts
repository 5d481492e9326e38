/** Why the addon cannot be loaded, and what to do. */

import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { candidates, DamagedAddon, findAddons, packageFolder } from './addon-file.js'
import { messageOf } from './callbacks.js'

const WITHOUT =
  'The following works without it: the state in JavaScript, the Vite plugins stableState, staleDepRecovery and linkEnvironments, serveRequests, race points and the race kit.'

/** The message for the error that loading failed with. Never throws. */
export function describeMissing(error: unknown): string {
  return `warmswap has no native addon for this machine: ${reasonOf(error)} ${WITHOUT}`
}

function reasonOf(error: unknown): string {
  const messages = chain(error)
  const folder = packageFolder()
  if (folder === undefined) return bundled()
  if (error instanceof DamagedAddon)
    return `the file ${error.message} Install it again: remove the folder ${dirname(fileOf(error.message) ?? folder)} and run your package manager's install.`
  if (messages.some((message) => /addons? is disabled|loading addons is disabled/.test(message))) return disabled()
  if (messages.some((message) => /Access to this API has been restricted/.test(message))) return forbidden(folder)
  const files = findAddons()
  if (files.length > 0)
    return `'${files[0]}' could not be loaded (${machine()}): ${messages.find((message) => files.some((file) => message.includes(basename(file)))) ?? messages.at(-1)}. It needs a file system that allows execution, and a libc that is at least as new as that of its build.`
  return notInstalled(folder)
}

/** The messages of an error and of its causes, the loader's attempts. */
function chain(error: unknown): string[] {
  const messages: string[] = []
  for (
    let each = error, depth = 0;
    each !== undefined && each !== null && depth < 20;
    each = (each as { cause?: unknown }).cause, depth += 1
  ) {
    messages.push(messageOf(each).split('\n')[0] as string)
  }
  return messages
}

function fileOf(message: string): string | undefined {
  return /^'([^']+)'/.exec(message)?.[1]
}

function bundled(): string {
  return (
    `a bundler has copied the code of warmswap out of its package, and the addon cannot be copied. ` +
    `Keep 'warmswap' external: esbuild and tsup external: ['warmswap'], rollup and rolldown external: [/^warmswap/], webpack externals: { warmswap: 'module warmswap' }, Vite SSR ssr.external: ['warmswap'], ncc --external warmswap.`
  )
}

function disabled(): string {
  return hasPermissionModel()
    ? `Node's permission model does not allow addons. Start node with --allow-addons.`
    : `Node was started with --no-addons. Start it without that flag; it can also be in NODE_OPTIONS.`
}

function forbidden(folder: string): string {
  return `Node's permission model does not allow reading it. Start node with --allow-addons and --allow-fs-read=${dirname(folder)}/*.`
}

function hasPermissionModel(): boolean {
  return (process as { permission?: unknown }).permission !== undefined
}

function machine(): string {
  const libc = libcName()
  return `platform ${process.platform}, architecture ${process.arch}${libc && `, libc ${libc}`}, Node ${process.version}`
}

function libcName(): string {
  if (process.platform !== 'linux') return ''
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return report?.header?.glibcVersionRuntime === undefined ? 'musl' : 'gnu'
}

function notInstalled(folder: string): string {
  const libc = libcName()
  const platform = candidates().find((name) => libc === '' || name.endsWith(libc))
  if (platform === undefined) return `there is no package for it (${machine()}).`
  const name = `warmswap-${platform}`
  return `the package '${name}' is not installed (${machine()}). ${whyNotInstalled(folder, name)}`
}

function whyNotInstalled(folder: string, name: string): string {
  const modules = dirname(folder)
  const others = platformPackages(namesIn(modules))
  if (others.length > 0)
    return `node_modules holds '${others[0]}', so it was installed on another platform and copied here. Run your package manager's install on this machine.`
  const locked = lockedPackages(dirname(modules))
  if (locked !== undefined && locked.length > 0 && !locked.includes(name)) {
    return `package-lock.json was made on another platform: it names '${locked[0]}' and leaves this package out (npm/cli#4828). Delete node_modules and the lock file and install again, or run 'npm install ${name}'.`
  }
  if (isOmitted() || locked?.includes(name))
    return `Optional dependencies were left out (--omit=optional, --no-optional or the setting omit). Install without that, or run 'npm install ${name}'.`
  return `Run 'npm install ${name}'. Optional dependencies may have been left out (--omit=optional), or the lock file may be from another platform (npm/cli#4828): then delete node_modules and the lock file and install again.`
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function platformPackages(names: readonly string[]): string[] {
  return names.filter((name) => /^warmswap-(linux|darwin|win32)-/.test(name))
}

/** The platform packages that the project's lock file names; undefined where there is no lock file of npm. */
function lockedPackages(project: string): string[] | undefined {
  try {
    const { packages } = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8')) as {
      packages?: Record<string, unknown>
    }
    return platformPackages(Object.keys(packages ?? {}).map((path) => path.split('node_modules/').at(-1) as string))
  } catch {
    return undefined
  }
}

function isOmitted(): boolean {
  const { npm_config_omit: omit = '', npm_config_optional: optional } = process.env
  return omit.split(/\s+/).includes('optional') || optional === 'false'
}
