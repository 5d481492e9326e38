/** The recipes of docs/guide/bundles-cli.md, run as they stand there. */

import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { openBundles } from 'warmswap'
import { expect } from 'vitest'
import { program } from './cli.js'
import { repository } from './paths.js'

const run = promisify(execFile)

export interface Recipe {
  /** Heading of the recipe. */
  tool: string
  /** The file that the recipe is, else the one that its first line names. */
  file?: string
  /** The source file. */
  source: string
  /** The built file. */
  built: string
  /** The program of the tool and its arguments. */
  command: string[]
  /** Packages of the project, by path. */
  packages?: Record<string, string>
  /** Further files of the project. */
  files?: Record<string, string>
}

/** The code below a heading of the page. */
function codeBelow(heading: string): string {
  const page = readFileSync(join(repository, 'docs/guide/bundles-cli.md'), 'utf8')
  const [, section = ''] = page.split(`\n### ${heading}\n`)
  const [, code] = /```(?:js suite|json)\n([\s\S]*?)```/.exec(section) ?? []
  if (code === undefined) throw new Error(`no recipe '${heading}'`)
  return code
}

function write(folder: string, path: string, text: string): void {
  mkdirSync(join(folder, dirname(path)), { recursive: true })
  writeFileSync(join(folder, path), text)
}

function makeProject(folder: string, { tool, file, packages = {}, files = {} }: Recipe): void {
  const code = codeBelow(tool)
  const name = file ?? /^\/\/ (\S+)/.exec(code)?.[1]
  if (name === undefined) throw new Error(`the recipe '${tool}' names no file`)
  write(folder, 'package.json', '{"private":true,"type":"module"}')
  for (const [path, text] of Object.entries({ ...files, [name]: code })) write(folder, path, text)
  for (const [path, target] of Object.entries(packages)) {
    mkdirSync(join(folder, 'node_modules', dirname(path)), { recursive: true })
    symlinkSync(target, join(folder, 'node_modules', path))
  }
  // As a package manager makes it.
  write(folder, 'node_modules/.bin/warmswap', `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`)
  chmodSync(join(folder, 'node_modules/.bin/warmswap'), 0o755)
}

/** A build publishes, the next one replaces it, one that changes nothing publishes nothing, and a failed one changes nothing. */
export async function expectRecipe(folder: string, recipe: Recipe): Promise<void> {
  makeProject(folder, recipe)
  const [command = '', ...args] = recipe.command
  const env = { ...process.env, PATH: `${join(folder, 'node_modules/.bin')}:${process.env.PATH}` }
  const build = (text: string): Promise<unknown> => {
    write(folder, recipe.source, text)
    return run(command, args, { cwd: folder, env })
  }
  const current = async (): Promise<number | undefined> => {
    await using store = await openBundles(join(folder, '.warmswap/build'))
    return store.current()?.number
  }
  const built = (): string => readFileSync(join(folder, 'dist', recipe.built), 'utf8')
  await build("export const text = 'first'\n")
  expect(built(), basename(recipe.built)).toContain('first')
  await build("export const text = 'second'\n")
  expect([built().includes('second'), await current()]).toEqual([true, 2])
  await build("export const text = 'second'\n")
  expect(await current(), 'nothing has changed').toBe(2)
  await expect(build('export const text = (\n')).rejects.toMatchObject({ code: expect.any(Number) })
  expect([built().includes('second'), await current()]).toEqual([true, 2])
}
