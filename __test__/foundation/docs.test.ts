/** The documentation: its programs run, and its links lead somewhere. */

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { transformSync } from 'esbuild'
import { expect, test } from 'vitest'
import { blocksOf, folderWith, linksOf, pages, readPage } from '../support/docs.js'
import { repository } from '../support/paths.js'

const blocks = pages().flatMap(blocksOf)
const isCode = /^(js|ts|jsx|tsx|mjs|cjs)$/
const programs = blocks.filter(({ language, mark }) => isCode.test(language) && mark === '')

test('every code block is a program, a fragment, or the input of a suite', () => {
  const known = /^((js|ts)( fragment| suite)?|ts reference|sh|text|output|json|yaml|toml|console|python)$/
  const wrong = blocks.filter(({ language, mark }) => !known.test(`${language} ${mark}`.trim()))
  expect(wrong.map(({ page, line }) => `${page}:${line}`)).toEqual([])
})

test.each(['bundles', 'locks', 'caches', 'pack-unpack', 'state', 'restarts', 'race-kit'])(
  'the guide of %s has a program',
  (name) => {
    expect(programs.filter(({ page }) => page === `docs/guide/${name}.md`)).not.toEqual([])
  },
)

test.concurrent.for(programs.map((block) => ({ ...block, place: `${block.page}, line ${block.line}` })))(
  'the program of $place runs as it stands there',
  { timeout: 120_000 },
  async ({ code, language, output }, { onTestFinished }) => {
    const program = language === 'ts' ? transformSync(code, { loader: 'ts', format: 'esm' }).code : code
    const child = spawn(process.execPath, ['program.mjs'], {
      cwd: folderWith(program, onTestFinished),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [stdout, stderr, status] = await Promise.all([
      child.stdout.setEncoding('utf8').toArray(),
      child.stderr.setEncoding('utf8').toArray(),
      new Promise((done) => child.once('close', done)),
    ])
    expect(stderr.join('')).toBe('')
    expect(status).toBe(0)
    if (output !== undefined) expect(stdout.join('')).toBe(output)
  },
)

test('README.md has at most 150 lines, and its examples at most eight', () => {
  expect(readPage('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(150)
  const long = blocks.filter(({ page, code }) => page === 'README.md' && code.trimEnd().split('\n').length > 8)
  expect(long.map(({ heading, line }) => `${heading}, line ${line}`)).toEqual([])
})

/** The anchors of a page, as GitHub makes them of its headings. */
function anchorsOf(page: string): Set<string> {
  const text = readPage(page).replace(/^```[\s\S]*?^```$/gm, '')
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)
  return new Set(
    headings
      .map((heading) => anchorOf(heading))
      .concat([...text.matchAll(/<a id="([^"]+)">/g)].map(([, id = '']) => id)),
  )
}

function anchorOf(heading: string): string {
  const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '')
  return plain
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\- _]/gu, '')
    .replaceAll(' ', '-')
}

const others = ['CHANGELOG.md', 'CONTRIBUTING.md', 'llms.txt']
const links = [...pages(), ...others].flatMap((page) => linksOf(repository, page))

test('every link leads to a file, and every anchor to a heading', () => {
  const dead = links.filter(({ file, anchor }) => {
    if (!existsSync(join(repository, file))) return true
    return anchor !== '' && !anchorsOf(file).has(anchor)
  })
  expect(links.length).toBeGreaterThan(50)
  expect(dead).toEqual([])
})

test('what the package ships links only to what it ships', () => {
  const { files } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { files: string[] }
  const isBelow = (file: string, folder: string): boolean => file === folder || file.startsWith(`${folder}/`)
  const isShipped = (file: string): boolean =>
    files.some((each) => isBelow(file, each)) &&
    !files.some((each) => each.startsWith('!') && isBelow(file, each.slice(1)))
  const outside = links.filter(({ page, file }) => isShipped(page) && !isShipped(file))
  expect(links.filter(({ page }) => isShipped(page)).length).toBeGreaterThan(50)
  expect(outside).toEqual([])
})

test('the generated pages are up to date, and every guarantee has a test: `node scripts/docs.js`', {
  timeout: 120_000,
}, () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/docs.js', '--check'], {
    cwd: repository,
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
})
