// docs/internals/map.md names files and functions that exist.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/paths.js'

const map = readFileSync(join(repository, 'docs/internals/map.md'), 'utf8')

/** Each `file`: `name` of the map, except the one that explains the notation. */
const references = [...map.matchAll(/`((?:core|addon|js)\/[\w./-]+\.(?:rs|ts))`(?:: `#?(\w+)`)?/g)]
  .map(([, file = '', name]) => ({ file, name }))
  .filter(({ file }) => file !== 'core/x.rs')

test('each file of a call path exists, and contains the function that the map names', () => {
  const wrong = references.filter(({ file, name }) => {
    const path = join(repository, 'src', file)
    return !existsSync(path) || (name !== undefined && !new RegExp(`\\b${name}\\b`).test(readFileSync(path, 'utf8')))
  })
  expect(references.length).toBeGreaterThan(50)
  expect(wrong).toEqual([])
})
