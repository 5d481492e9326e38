// The input: the app's real dependencies, installed once, and their snapshots, created by the first run.
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { createWriteStream } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { pack } from 'warmswap'

const source = fileURLToPath(new URL('../app', import.meta.url))

/** Returns the snapshots of the dependencies for each way. The first run creates them. */
export async function prepareSnapshots(work) {
  const install = join(work, 'install')
  const snapshots = { warmswap: join(work, 'dependencies.tar.zst'), today: join(work, 'dependencies.tgz') }
  if (!existsSync(join(install, 'node_modules'))) {
    await mkdir(install, { recursive: true })
    for (const name of ['package.json', 'package-lock.json']) await cp(join(source, name), join(install, name))
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: install,
      stdio: 'inherit',
    })
  }
  const modules = join(install, 'node_modules')
  if (!existsSync(snapshots.warmswap)) {
    await pipeline(Readable.fromWeb(pack(modules)), createWriteStream(`${snapshots.warmswap}.part`))
    await rename(`${snapshots.warmswap}.part`, snapshots.warmswap)
  }
  if (!existsSync(snapshots.today)) execFileSync('tar', ['-czf', snapshots.today, '-C', modules, '.'])
  const files = (await readdir(modules, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  ).length
  return { snapshots: { ...snapshots, careful: snapshots.today }, files }
}

/** Creates a fresh copy of the sources for one way, without dependencies. */
export async function freshApp(work, way) {
  const app = join(work, way)
  await rm(app, { recursive: true, force: true })
  await cp(source, app, { recursive: true, filter: (path) => !path.includes('node_modules') })
  return app
}
