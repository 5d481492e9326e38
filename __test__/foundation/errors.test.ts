import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { WarmswapError, isWarmswapError } from 'warmswap'
import { repository } from '../support/paths.js'

const binding = createRequire(import.meta.url)(
  '../../dist/binding.cjs',
) as typeof import('../../src/js/native/binding.cjs')

test('the tables of codes in the core and in JavaScript agree', () => {
  for (const [code, retryable] of binding.errorCodes() as unknown as [never, boolean][]) {
    expect(new WarmswapError(code, 'text').retryable, code).toBe(retryable)
  }
})

test('the brand holds across realms, and a plain error has none', () => {
  const error = new WarmswapError('ERR_TIMEOUT', 'waited 3 ms')
  expect(runInNewContext('Symbol.for("warmswap.error@1") in error', { error })).toBe(true)
  expect(isWarmswapError(new Error('other'))).toBe(false)
  expect(isWarmswapError(null)).toBe(false)
})

test('docs/reference/errors.md has one row for each code, with the same word on retrying', () => {
  const page = readFileSync(join(repository, 'docs/reference/errors.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `(ERR_\w+)` \|.*\| (yes|no) \|[^|]*\|[^|]*\|$/gm)].map(([, code, retryable]) => [
    code,
    retryable === 'yes',
  ])
  expect(rows).toEqual(binding.errorCodes())
})
