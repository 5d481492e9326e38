// @module-tag system
/** The types of the code blocks in the documentation, with and without the DOM library. */

import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import ts from 'typescript'
import { expect, onTestFinished, test } from 'vitest'
import { type Block, blocksOf, pages } from '../support/docs.js'
import { repository } from '../support/paths.js'
import { removeTemp } from '../support/temp.js'

const blocks = pages()
  .flatMap(blocksOf)
  .filter(({ mark }) => mark !== 'reference')

/** Packages that the pages show in use and that are not installed here, or have no types. */
const foreign = ['@actions/cache', 'proper-lockfile', 'tar-fs']

const shared: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  skipLibCheck: true,
  noEmit: true,
}

/** Writes each block to a file of its own, inside the repository, so that 'warmswap' is this package. */
function problemsOf(checked: Block[], options: ts.CompilerOptions): string[] {
  mkdirSync(join(repository, 'build'), { recursive: true })
  const folder = mkdtempSync(join(repository, 'build/docs-types-'))
  onTestFinished(() => removeTemp(folder))
  const shims = join(folder, 'foreign.d.ts')
  writeFileSync(shims, foreign.map((name) => `declare module '${name}'\n`).join(''))
  const files = checked.map(({ page, line, language, code, declarations }) => {
    const path = join(folder, `${page.replaceAll(/\W/g, '-')}-${line}.${language === 'js' ? 'mjs' : 'mts'}`)
    writeFileSync(path, `${code}\n${declarations}\nexport {}\n`)
    return path
  })
  const program = ts.createProgram([shims, ...files], { ...shared, ...options })
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file === undefined ? '' : file.getLineAndCharacterOfPosition(start).line + 1
    return `${file && relative(folder, file.fileName)}(${line}): ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
  })
}

const strict: ts.CompilerOptions = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true }
const typed = blocks.filter(({ language }) => language === 'ts')

test.each([
  ['without the DOM library', ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts']],
  ['with the DOM library', ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts']],
])('TypeScript blocks are strictly typed %s', { timeout: 120_000 }, (_, lib) => {
  expect(typed.length).toBeGreaterThan(3)
  expect(problemsOf(typed, { ...strict, lib })).toEqual([])
})

test('JavaScript blocks use the options that exist', { timeout: 120_000 }, () => {
  const plain = blocks.filter(({ language }) => language === 'js')
  expect(plain.length).toBeGreaterThan(10)
  expect(problemsOf(plain, { allowJs: true, checkJs: true, lib: ['lib.esnext.d.ts'] })).toEqual([])
})
