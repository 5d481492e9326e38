import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/paths.js'
import { folderWith } from '../support/readme.js'

/** A configuration file, or a program that runs forever: other suites run them. */
const isNotAScript = /^\/\/ (vite\.config\.|server\.|astro\.config\.m)js|context\.watch\(\)/m

/** The quick starts: every ```js block of the README, with the heading above it. */
function quickStarts(): { heading: string; code: string }[] {
  const readme = readFileSync(join(repository, 'README.md'), 'utf8')
  return readme.split(/^## /m).flatMap((section) => {
    const heading = section.split('\n', 1)[0] as string
    return [...section.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code]) => ({ heading, code: code as string }))
  })
}

test('each capability has a quick start', () => {
  expect(new Set(quickStarts().map(({ heading }) => heading))).toEqual(
    new Set(['Bundles', 'Locks', 'Caches', 'State', 'Restarts']),
  )
})

test.each(quickStarts().filter(({ code }) => !isNotAScript.test(code)))(
  'the quick start of $heading runs as it stands in the README',
  ({ code }) => {
    const result = spawnSync(process.execPath, ['program.mjs'], {
      cwd: folderWith(code),
      encoding: 'utf8',
      timeout: 60_000,
    })
    expect(`${result.stderr}${result.signal ?? ''}`).toBe('')
    expect(result.status).toBe(0)
  },
)
