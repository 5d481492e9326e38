/**
 * An error of a worker keeps its stack, file, line, code and cause on its way to the caller. The same for threads and
 * processes.
 */

// guarantee: restarts/errors-keep-their-cause

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import { describe, expect } from 'vitest'
import type { StartContext } from 'warmswap'
import { startProcess, startWorkerThread } from 'warmswap'
import { start as startChild } from '../support/children.js'
import { test } from '../support/coordinators.js'
import { repository } from '../support/paths.js'
import { publish } from '../support/stores.js'

const warmswap = pathToFileURL(join(repository, 'dist/worker.js')).href
const from = (text: string): string => `import { serveRequests } from ${JSON.stringify(warmswap)}\n${text}`

const rejection = (promise: Promise<unknown>): Promise<Error & { code?: string; cause?: unknown }> =>
  promise.then(
    () => expect.unreachable('it was to fail'),
    (error) => error,
  )

describe.each([
  ['threads', (context: StartContext) => startWorkerThread(context, 'main.mjs')],
  ['processes', (context: StartContext) => startProcess(context, 'main.mjs')],
] as const)('workers that are %s', (_name, start) => {
  const broken: [string, Record<string, string>, RegExp][] = [
    [
      'an exception at the top level of an import',
      { 'main.mjs': "import './lib.mjs'\n", 'lib.mjs': '\n\nfunction broken() { null.x }\nbroken()\n' },
      /TypeError: .*\n(.*\n)*.*broken .*lib\.mjs:3:/,
    ],
    ['a missing import', { 'main.mjs': "import './nowhere.mjs'\n" }, /ERR_MODULE_NOT_FOUND(.|\n)*nowhere\.mjs/],
    [
      'a rejected promise',
      { 'main.mjs': "\nPromise.reject(new RangeError('late'))\nsetInterval(() => {}, 1e6)\n" },
      /RangeError: late\n.*main\.mjs:2:/,
    ],
    [
      'a cause',
      { 'main.mjs': "try {\n null.x\n} catch (cause) {\n throw new Error('outer', { cause })\n}\n" },
      /Error: outer\n.*main\.mjs:4:(.|\n)*cause\]: TypeError(.|\n)*main\.mjs:2:/,
    ],
    ['a value that is no error', { 'main.mjs': "throw { code: 17, why: 'odd' }\n" }, /why: 'odd'/],
    ['a primitive', { 'main.mjs': "throw 'only text'\n" }, /only text/],
  ]

  test.for(broken)('at boot: %s', async ([, files, expected], { store, open }) => {
    await publish(store, files)
    const coordinator = open(start)
    const error = await rejection(coordinator.reboot({ observed: null, reason: 'test' }))
    expect(error).toMatchObject({ name: 'WarmswapError', code: 'ERR_WORKER_EXITED' })
    expect(error.message).toContain((error.cause as Error).message)
    expect(inspect(error.cause)).toMatch(expected)
    expect(coordinator.status().lastError).toBe(error)
    expect((await rejection(coordinator.dispatch('x'))).cause).toMatchObject({
      message: (error.cause as Error).message,
    })
  })

  test('in a handler: stack, code, causes, and the errors of an AggregateError', async ({ store, open }) => {
    await publish(store, {
      'main.mjs': from(`import { deep } from './lib.mjs'
serveRequests(async (request) => {
  if (request === 'many') await Promise.any([1, 2].map((n) => deep(new Error('one of ' + n))))
  await deep(Object.assign(new TypeError('outer', { cause: new RangeError('inner', { cause: 'why' }) }), { code: 'ERR_MINE' }))
})`),
      'lib.mjs': '\nexport async function deep(error) {\n  throw error\n}\n',
    })
    const coordinator = open(start)
    const one = await rejection(coordinator.dispatch('one'))
    expect(one).toMatchObject({ name: 'TypeError', message: 'outer', code: 'ERR_MINE' })
    expect(one.stack).toMatch(/^TypeError: outer\n.*main\.mjs:5:/)
    expect(one.cause).toMatchObject({ name: 'RangeError', message: 'inner', cause: { message: 'why' } })
    expect((one.cause as Error).stack).toMatch(/main\.mjs:5:/)
    const many = await rejection(coordinator.dispatch('many'))
    expect((many as AggregateError).errors.map(({ message }) => message)).toEqual(['one of 1', 'one of 2'])
    expect((many as AggregateError).errors[0].stack).toMatch(/main\.mjs:4:/)
  })

  test('a circle of causes ends', async ({ store, open }) => {
    await publish(store, {
      'main.mjs': from(
        "serveRequests(() => {\n const error = new Error('round')\n error.cause = error\n throw error\n})",
      ),
    })
    expect((await rejection(open(start).dispatch('x'))).cause).toMatchObject({ message: 'round' })
  })

  test('later: an uncaught error is the cause of what its requests reject with, and status() has it', async ({
    store,
    open,
  }) => {
    await publish(store, {
      'main.mjs': from(`import { fail } from './lib.mjs'
serveRequests((request) => {
  if (request === 'fail') setImmediate(fail)
  return new Promise(() => {})
})`),
      'lib.mjs': "\n\nexport const fail = () => {\n  throw new Error('in a callback')\n}\n",
    })
    const coordinator = open(start)
    const errors = await Promise.all([rejection(coordinator.dispatch('wait')), rejection(coordinator.dispatch('fail'))])
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'ERR_WORKER_EXITED', cause: { message: 'in a callback' } })
      expect((error.cause as Error).stack).toMatch(/lib\.mjs:4:/)
    }
    const { state, lastError } = coordinator.status()
    expect([state, lastError?.stack]).toEqual(['idle', expect.stringMatching(/lib\.mjs:4:/)])
  })
})

test('an uncaught error that the worker handles is not reported as the reason of its end', async ({ store, open }) => {
  await publish(store, {
    'main.mjs': from(
      "process.on('uncaughtException', () => {})\nsetImmediate(() => { throw new Error('handled') })\nserveRequests((request) => request)",
    ),
  })
  const coordinator = open((context) => startProcess(context, 'main.mjs'))
  expect(await coordinator.dispatch('fine')).toBe('fine')
  expect(coordinator.status().lastError).toBe(undefined)
})

describe.each([
  ['this Node', process.execPath],
  ['Node 22', join(repository, 'node_modules/node22-linux-x64/bin/node')],
] as const)('a syntax error at boot names its file and line on %s', (_name, node) => {
  const modules: [string, Record<string, string>, string][] = [
    ['of the entry', { 'main.mjs': '\nconst a = 1\nconst b = }\n' }, 'main.mjs:3'],
    [
      'of an import of an import',
      {
        'main.mjs': "import fs from 'node:fs'\nimport './lib/a.mjs'\nfs.writeFileSync('/nowhere/ran', '')\n",
        'lib/a.mjs': "import '../b.js'\n",
        'b.js': '\n\n\nexport const b = 08n\n',
        'package.json': '{"type":"module"}',
      },
      'b.js:4',
    ],
    [
      'of a module that is imported later',
      { 'main.mjs': "await import('./late.mjs')\n", 'late.mjs': '\nlet a\nlet a\n' },
      'late.mjs:3',
    ],
    [
      'of an export that is missing',
      { 'main.mjs': "\nimport { b } from './lib.mjs'\n", 'lib.mjs': 'export const a = 1\n' },
      'main.mjs:2',
    ],
    ['of a CommonJS module', { 'main.mjs': "import './old.cjs'\n", 'old.cjs': '\nconst a = }\n' }, 'old.cjs:2'],
  ]

  test.skipIf(!existsSync(node))('threads and processes', { timeout: 120_000 }, async ({ store }) => {
    for (const [what, files, place] of modules) {
      await publish(store, files)
      const child = startChild(node, [join(repository, '__test__/programs/syntax-errors.mjs'), store.root])
      expect((await child.ended).code, child.stderr()).toBe(0)
      const told = child.lines.map((line) => JSON.parse(line) as { kind: string; message: string; stack: string })
      expect(told.map(({ kind }) => kind)).toEqual(['thread', 'process'])
      for (const { kind, message, stack } of told) {
        expect(stack, `${kind}: ${what}`).toContain(place)
        expect(stack, `${kind}: ${what}`).toContain('SyntaxError')
        // The message has it where Node's own stack has not.
        if (!/^(file:|\/)/.test(stack) || message.includes('file:')) expect(message, what).toContain(place)
      }
    }
  })
})
