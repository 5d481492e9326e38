// The tests of each guarantee: `capability/speaking-id` in titles and comments below __test__.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../process.js'

const prefix = '(?:bundles|locks|archives|caches|state|restarts|library|fleet)'
/** An id that a title or a comment begins with, or names in brackets. Code has paths of this form, in other places. */
const use = new RegExp(`(?<=^|['"\`(\\s])${prefix}/[a-z]+(?:-[a-z0-9]+)+(?=[:,)]|$)`, 'gm')
/** An entry of a page, a guarantee or a limit: - **\`id\`**: text */
const entry = new RegExp(`^- \\*\\*\`(${prefix}/[a-z0-9-]+)\`\\*\\*: (.*)$`, 'gm')

/** Each id that a test names, with the files that name it (relative to __test__). */
function guaranteesInTests() {
  const files = readdirSync(join(root, '__test__'), { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => /\.(ts|rs|js)$/.test(file) && !/node_modules|fixtures/.test(file))
    .sort()
  const found = new Map()
  for (const file of files)
    for (const [id] of readFileSync(join(root, '__test__', file), 'utf8').matchAll(use))
      found.set(id, (found.get(id) ?? new Set()).add(file))
  return found
}

/** A page with the line `Tests: …` below each entry. */
function withTests(page, tests) {
  const bare = page.replace(/<br>Tests: .*/g, '')
  return bare.replace(entry, (line, id) => {
    const files = [...(tests.get(id) ?? [])].map((file) => `\`${file}\``)
    return files.length === 0 ? line : `${line}<br>Tests: ${files.join(', ')}`
  })
}

/** Limits that have neither an id nor the mark of those that no test shows. */
function unmarkedLimits(page) {
  const [, limits = ''] = page.split('\n## Limits\n')
  return limits.match(/^- (?!\*\*`[a-z]+\/|\*No test\.\* ).*/gm) ?? []
}

/** The pages of docs/guarantees with their tests, by path. Throws if pages and tests do not name the same guarantees. */
export function guaranteePages() {
  const tests = guaranteesInTests()
  const folder = join(root, 'docs/guarantees')
  const names = readdirSync(folder).filter((name) => name.endsWith('.md'))
  const pages = names.map((name) => [`docs/guarantees/${name}`, readFileSync(join(folder, name), 'utf8')])
  const listed = pages.flatMap(([, text]) => [...text.matchAll(entry)].map(([, id]) => id))
  const problems = [
    ...listed.filter((id) => !tests.has(id)).map((id) => `no test names ${id}, which docs/guarantees lists`),
    ...[...tests]
      .filter(([id]) => !listed.includes(id))
      .map(([id, files]) => `docs/guarantees does not list ${id} of ${[...files].join(', ')}`),
    ...pages.flatMap(([path, text]) =>
      unmarkedLimits(text).map((line) => `${path}: a limit needs an id, or '*No test.*' before it: ${line}`),
    ),
    ...listed.filter((id, index) => listed.indexOf(id) !== index).map((id) => `docs/guarantees lists ${id} twice`),
  ]
  if (problems.length > 0) throw new Error(problems.join('\n'))
  return pages.map(([path, text]) => [path, withTests(text, tests)])
}
