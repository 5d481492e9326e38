// The sample of the reader test depends only on the commit, and the page needs an answer and a grade for each text.
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

interface Item {
  id: string
  kind: string
  file: string
}

const script = (...args: string[]) =>
  spawnSync(process.execPath, [join(repository, 'scripts/reader-test.js'), ...args], { encoding: 'utf8' })

const isCheckout = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: repository }).status === 0

test.skipIf(!isCheckout)(
  'the sample is complete and repeatable, and its page has each answer',
  { timeout: 120_000 },
  ({ disk }) => {
    const sample = (folder: string) => readFileSync(join(disk, folder, 'sample.json'), 'utf8')
    expect(script('draw', join(disk, 'one')).stderr).toBe('')
    expect(script('draw', join(disk, 'two')).stderr).toBe('')
    expect(sample('two')).toBe(sample('one'))
    const { items } = JSON.parse(sample('one')) as { items: Item[] }
    expect(new Set(items.map(({ id }) => id)).size).toBe(items.length)
    expect(items.length).toBeGreaterThan(200)
    expect(items.some(({ file }) => file.endsWith('.rs')) && items.some(({ file }) => file.endsWith('.ts'))).toBe(true)

    const write = (name: string, value: object) => writeFileSync(join(disk, 'one', name), JSON.stringify(value))
    const page = join(disk, 'page.md')
    const render = () => script('render', '--before', join(disk, 'one'), '--after', join(disk, 'one'), '--out', page)
    write('answers.json', Object.fromEntries(items.map(({ id }) => [id, `Answer to ${id}.`])))
    write('grades.json', Object.fromEntries(items.slice(1).map(({ id }) => [id, { right: true }])))
    expect(render().stderr).toContain(`no answer or no grade for ${items[0]!.id}\n`)
    write('grades.json', Object.fromEntries(items.map(({ id }, index) => [id, { right: index > 0 }])))
    expect(render().status).toBe(0)
    const text = readFileSync(page, 'utf8')
    expect(text).toContain(`| **All** | ${items.length - 1} of ${items.length} (99 %) |`)
    expect(text).toContain('Answer: Answer to bundles-doc-1.')
  },
)
