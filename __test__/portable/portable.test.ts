// @module-tag system
/** The portable suite (run.js) on this machine. It needs no vitest; here its cases are counted with the other tests. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { makeTemp, removeTemp } from '../support/temp.js'

interface Report {
  platform: string
  results: { name: string; status: string; error?: string }[]
}

const folder = makeTemp()
const report = join(folder, 'report.json')
const child = start(process.execPath, [join(repository, '__test__/portable/run.js'), '--report', report])
await child.ended
if (!existsSync(report)) throw new Error(`the portable suite wrote no report: ${child.stderr()}`)
const { platform, results } = JSON.parse(readFileSync(report, 'utf8')) as Report
removeTemp(folder)

test.each(results)('portable: $name', ({ status, error }) => {
  expect(status === 'failed' ? error : undefined).toBeUndefined()
})

test(`portable: nothing is skipped on ${platform}`, () => {
  expect(results.filter(({ status }) => status !== 'passed').map(({ name, status }) => `${status}: ${name}`)).toEqual(
    [],
  )
})
