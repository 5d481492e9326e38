// Does what `npm install` would do in an example: its packages as real directories (Vite never pre-bundles linked
// ones), and warmswap.
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const repository = fileURLToPath(new URL('..', import.meta.url))

/** Creates node_modules of an example again, without Vite's cache in it. */
export function install(example) {
  const modules = join(example, 'node_modules')
  rmSync(modules, { recursive: true, force: true })
  mkdirSync(modules)
  cpSync(join(example, 'packages'), modules, { recursive: true })
  symlinkSync(repository, join(modules, 'warmswap'))
}
