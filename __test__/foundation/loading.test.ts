// guarantee: library/missing-addon-is-explained

import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { repository, testingAddon } from '../support/paths.js'
import { test } from '../support/temp.js'

const addon = join(repository, 'dist/warmswap.linux-x64-gnu.node')

/** Runs a script in a separate process: an abort of Node would be its exit status. */
function node(script: string, options: { env?: Record<string, string>; stderr?: RegExp } = {}): string {
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: repository,
    encoding: 'utf8',
    env: { ...process.env, ...options.env },
  })
  expect(result.stderr).toMatch(options.stderr ?? /^$/)
  expect([result.status, result.signal]).toEqual([0, null])
  return result.stdout.trim()
}

test('twenty workers load the addon, half of them are terminated in mid-call, and the process ends by itself', () => {
  const output = node(`
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    import 'warmswap'
    let loaded = 0
    for (let index = 0; index < 20; index += 1) {
      const worker = new Worker(new URL('__test__/programs/loading-worker.mjs', 'file://' + process.cwd() + '/'), { argv: [index % 2 ? 'busy' : 'idle'], execArgv: [] })
      await once(worker, 'message')
      loaded += 1
      await worker.terminate()
    }
    console.log(loaded)
  `)
  expect(output).toBe('20')
})

test('it loads twice from the same path, from a second path, and from a vm context', ({ disk }) => {
  const copy = join(disk, 'copy.node')
  copyFileSync(addon, copy)
  const output = node(`
    import { createRequire } from 'node:module'
    import { runInNewContext } from 'node:vm'
    const require = createRequire(import.meta.url)
    const first = require(${JSON.stringify(addon)})
    delete require.cache[${JSON.stringify(addon)}]
    const second = require(${JSON.stringify(addon)})
    const third = require(${JSON.stringify(copy)})
    const fourth = runInNewContext('load()', { load: () => { const module = { exports: {} }; process.dlopen(module, ${JSON.stringify(addon)}); return module.exports } })
    console.log([first, second, third, fourth].map((each) => each.errorCodes().length).join(' '))
  `)
  expect(new Set(output.split(' ')).size).toBe(1)
})

test('a panic becomes a WarmswapError, in a call and in a promise', () => {
  const output = node(
    `
    import { createRequire } from 'node:module'
    const { panicForTests, panicLaterForTests } = createRequire(import.meta.url)('./dist/binding.cjs')
    const shown = []
    try { panicForTests() } catch (error) { shown.push(error.message) }
    await panicLaterForTests().catch((error) => shown.push(error.message))
    console.log(shown.join('\\n'))
  `,
    { env: { NAPI_RS_NATIVE_LIBRARY_PATH: testingAddon }, stderr: /a seeded panic 1[\s\S]*a seeded panic 2/ },
  )
  expect(output.split('\n')).toEqual([
    'warmswap has a bug: its native code panicked (a seeded panic 1). Please report this message.',
    'warmswap has a bug: its native code panicked (a seeded panic 2). Please report this message.',
  ])
})

test('the published addon has no fault points', () => {
  const output = execFileSync(process.execPath, ['-p', `require(${JSON.stringify(addon)}).isTestingBuild()`], {
    encoding: 'utf8',
  })
  expect(output.trim()).toBe('false')
})
