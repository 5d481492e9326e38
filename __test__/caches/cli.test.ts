import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { digest, makeTree } from '../support/trees.js'

async function cli(...args: string[]): Promise<{ code: number | null; out: string }> {
  const child = start(process.execPath, [join(repository, 'dist/cli.js'), 'cache', ...args])
  const { code } = await child.ended
  return { code, out: child.lines.join('\n') }
}

test('warmswap cache: exit code by outcome, --json in one line', async ({ memory }) => {
  const store = ['--store', `file://${join(memory, 'store')}`, '--key', 'site']
  const tree = makeTree(join(memory, 'tree'))
  const into = join(memory, 'into')
  expect((await cli('restore', into, ...store)).code).toBe(3)
  const saved = await cli('save', tree, ...store, '--json')
  expect(saved.code).toBe(0)
  expect(JSON.parse(saved.out)).toMatchObject({ outcome: 'uploaded' })
  expect(await cli('save', tree, ...store)).toMatchObject({ code: 0, out: expect.stringMatching(/^unchanged/) })
  expect((await cli('restore', into, ...store)).code).toBe(0)
  expect(digest(into)).toEqual(digest(tree))
  expect(JSON.parse((await cli('inspect', ...store, '--json')).out)).toMatchObject({ outcome: 'found' })
  expect((await cli('prune', ...store)).code).toBe(0)
  expect(JSON.parse((await cli('probe', '--store', store[1]!, '--json')).out)).toMatchObject({ writable: true })
  writeFileSync(join(memory, 'store/site/current.json'), 'nonsense')
  expect((await cli('restore', into, ...store, '--mode', 'replace')).code).toBe(5)
  expect((await cli('frobnicate', ...store)).code).toBe(2)
  expect((await cli('restore', '/', ...store)).code).toBe(2)
  expect((await cli('restore', into, '--key', 'site')).code).toBe(2)
})
