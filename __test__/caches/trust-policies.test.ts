// The conditions in docs/guide/trust.md for Google Cloud Storage and Azure, evaluated for the requests that a cache makes. No
// emulator enforces them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { repository } from '../support/paths.js'

const page = readFileSync(join(repository, 'docs/guide/trust.md'), 'utf8')
const LEVELS = 'caches/.warmswap-level'
/** Paths in a level, and paths that only look like it. */
const paths = {
  main: [`${LEVELS}/main/site/current.json`, `${LEVELS}/main/.warmswap-probe/1`],
  pullRequests: [`${LEVELS}/pr-1/site/current.json`, `${LEVELS}/pr-12/site/blobs/1.tar.zst`],
  others: [
    `${LEVELS}/main2/site/current.json`,
    `${LEVELS}/main`,
    `${LEVELS}/release/site/current.json`,
    'caches/site/current.json',
    `other/${LEVELS}/main/site/current.json`,
    `other/${LEVELS}/pr-1/site/current.json`,
  ],
}

/** Expects that exactly these paths are permitted. */
function expectOnly(permitted: string[], isPermitted: (path: string) => boolean): void {
  expect(Object.values(paths).flat().filter(isPermitted)).toEqual(permitted)
}

describe('caches/policies-hold: Google Cloud Storage', () => {
  const conditions = [...page.matchAll(/```yaml\ntitle: [^\n]*\nexpression: >-\n(.*?)```/gs)].map(
    ([, text]) => text as string,
  )
  test.for([
    ['main', 0, paths.main],
    ['pull requests', 1, paths.pullRequests],
  ] as const)('the condition for the jobs of %s', ([, index, permitted]) => {
    expect(conditions).toHaveLength(2)
    // This part of the expression language is also JavaScript.
    const evaluate = new Function(
      'resource',
      'api',
      `return ${(conditions[index] as string).replaceAll('\n', ' ')}`,
    ) as (resource: { name: string }, api: { getAttribute(name: string, absent: string): string }) => boolean
    const ask = (name: string, prefix: string): boolean =>
      evaluate({ name }, { getAttribute: (_, absent) => prefix || absent })
    const bucket = 'projects/_/buckets/my-bucket'
    expectOnly([...permitted], (path) => ask(`${bucket}/objects/${path}`, ''))
    // Listing is a request to the bucket.
    expectOnly([...permitted], (path) => ask(bucket, path))
    expect(ask(bucket, '')).toBe(false)
    expect(ask(`projects/_/buckets/other/objects/${permitted[0]}`, '')).toBe(false)
  })
})

describe('caches/policies-hold: Azure Blob Storage', () => {
  const [, condition = ''] = /```text\n(\(.*?)```/s.exec(page) ?? []
  const BLOBS = 'Microsoft.Storage/storageAccounts/blobServices/containers/blobs'

  /** Whether a role assignment with the condition permits an action on a blob. */
  function permits(text: string, action: string, path: string): boolean {
    const isLike = (pattern: string): boolean =>
      new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`).test(path)
    const expression = text
      .replace(/ActionMatches\{'([^']+)'\}/g, (_, name: string) => String(name === action))
      .replace(/@Resource\[[^\]]+:path\] StringLike '([^']+)'/g, (_, pattern: string) => String(isLike(pattern)))
      .replaceAll(/\bAND\b/g, '&&')
      .replaceAll(/\bOR\b/g, '||')
    expect(expression).toMatch(/^[()!&|\s]*(?:(?:true|false)[()!&|\s]*)+$/)
    return new Function(`return ${expression}`)() as boolean
  }

  test.for([
    ['main', condition, paths.main],
    ['pull requests', condition.replace('/main/*', '/pr-*/*'), paths.pullRequests],
  ] as const)('the condition for the jobs of %s', ([, text, permitted]) => {
    // The data actions of Storage Blob Data Contributor that change something.
    for (const action of ['write', 'add/action', 'move/action', 'delete'])
      expectOnly([...permitted], (path) => permits(text, `${BLOBS}/${action}`, path))
    expectOnly(Object.values(paths).flat(), (path) => permits(text, `${BLOBS}/read`, path))
  })
})
