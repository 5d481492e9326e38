/** The first step of a release: the tag, the version and the repository field agree with the run. */

import { execFile } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

interface Ended {
  code: number
  stderr: string
}

/** Runs the check in a copy of the scripts whose manifest has these fields. */
function check(folder: string, fields: object, env: Record<string, string>): Promise<Ended> {
  cpSync(join(repository, 'scripts'), join(folder, 'scripts'), { recursive: true })
  const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as object
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ ...manifest, ...fields }))
  const options = { cwd: folder, env: { PATH: process.env.PATH ?? '', ...env } }
  return new Promise((resolve) => {
    execFile(process.execPath, ['scripts/release.js', 'check'], options, (error, _stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stderr })
    })
  })
}

const matching = { type: 'git', url: 'git+https://github.com/someone/warmswap.git' }
const run = { GITHUB_REPOSITORY: 'someone/warmswap', GITHUB_REF_NAME: 'v0.1.0' }

test('passes if repository, tag and version agree', async ({ disk }) => {
  expect(await check(disk, { repository: matching }, run)).toMatchObject({ code: 0 })
})

test.for([
  ['no repository field', { repository: undefined }, run, /no repository field/],
  [
    'another repository',
    { repository: matching },
    { ...run, GITHUB_REPOSITORY: 'stranger/fork' },
    /names 'someone\/warmswap', but this workflow runs in 'stranger\/fork'/,
  ],
  ['another tag', { repository: matching }, { ...run, GITHUB_REF_NAME: 'v9.9.9' }, /the tag is 'v9.9.9'/],
  ['outside of a workflow', { repository: matching }, {}, /GITHUB_REPOSITORY is not set/],
] as const)('fails with %s', async ([, fields, env, message], { disk }) => {
  expect(await check(disk, fields, env)).toMatchObject({ code: 1, stderr: expect.stringMatching(message) })
})
