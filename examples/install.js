// What `npm install` would do in an example: its packages as real directories (Vite never pre-bundles linked ones), and warmswap.
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const repository = fileURLToPath(new URL('..', import.meta.url))

/** Makes node_modules of an example anew, without what Vite cached in it. */
export function install(example) {
  const modules = join(example, 'node_modules')
  rmSync(modules, { recursive: true, force: true })
  mkdirSync(modules)
  cpSync(join(example, 'packages'), modules, { recursive: true })
  symlinkSync(repository, join(modules, 'warmswap'))
}
