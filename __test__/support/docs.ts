/** The pages of the documentation and their code blocks. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { repository } from './paths.js'
import { removeTemp } from './temp.js'

/** A fenced block of a page. */
export interface Block {
  page: string
  /** Line of the page, from 1, that the code begins on. */
  line: number
  /** The heading above it, without `#`. */
  heading: string
  language: string
  /**
   * The word after the language. None: a program, which `docs.test.ts` runs. `fragment`: only its types are checked.
   * `suite`: a suite of its own runs it, and its types are checked. `reference`: a signature of a generated page.
   */
  mark: string
  code: string
  /** Declarations for the names that a fragment takes from its surroundings: `<!-- declare const url: string -->` above it. */
  declarations: string
  /** The output that a block ```output right below it shows. */
  output: string | undefined
}

/** Paths of README.md and of all pages below docs/, relative to the repository. */
export function pages(): string[] {
  const below = readdirSync(join(repository, 'docs'), { recursive: true, encoding: 'utf8' })
  return ['README.md', ...below.filter((path) => path.endsWith('.md')).map((path) => `docs/${path}`)].sort()
}

export function readPage(page: string): string {
  return readFileSync(join(repository, page), 'utf8')
}

/** The fenced blocks of a page. */
export function blocksOf(page: string): Block[] {
  const text = readPage(page)
  const fenced =
    /(?:^<!-- (declare [\s\S]*?) -->\n)?^```(\w+) ?(\w*)\n([\s\S]*?)^```$(?:\n+^```output\n([\s\S]*?)^```$)?/gm
  return [...text.matchAll(fenced)].map((match) => {
    const [, declarations = '', language = '', mark = '', code = '', output] = match
    const before = text.slice(0, match.index)
    const heading = [...before.matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? ''
    const line = before.split('\n').length + (declarations === '' ? 1 : declarations.split('\n').length + 1)
    return { page, line, heading, language, mark, code, declarations, output }
  })
}

/** The relative links of a page below `root`: the file that each names, relative to `root`, and its anchor. */
export function linksOf(root: string, page: string): { page: string; file: string; anchor: string }[] {
  const text = readFileSync(join(root, page), 'utf8')
    .replace(/^```[\s\S]*?^```$/gm, '')
    .replace(/`[^`\n]*`/g, '`…`')
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return []
    const [path = '', anchor = ''] = target.split('#')
    const file = path === '' ? page : relative(root, resolve(root, dirname(page), path))
    return [{ page, file, anchor }]
  })
}

/** The code of the first block below a heading of a page. */
export function blockBelow(page: string, heading: string): string {
  const block = blocksOf(page).find((each) => each.heading === heading)
  if (block === undefined) throw new Error(`${page} has no code block below the heading '${heading}'`)
  return block.code
}

/** A folder with `program.mjs`, inside the repository, so that 'warmswap' is this package. Removed after the test. */
export function folderWith(program: string, onTestFinished: (remove: () => void) => void): string {
  mkdirSync(join(repository, 'build'), { recursive: true })
  const folder = mkdtempSync(join(repository, 'build/docs-'))
  onTestFinished(() => removeTemp(folder))
  writeFileSync(join(folder, 'program.mjs'), program)
  return folder
}
