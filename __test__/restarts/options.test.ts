/** Options of startProcess() and startWorkerThread(): what people expect of them, and what is refused. */

import { describe, expect } from 'vitest'
import { type ProcessOptions, startProcess, startWorkerThread, type WorkerThreadOptions } from 'warmswap'
import { publishWorker, test } from '../support/coordinators.js'

const REPORT = `
if (request === 'print') { process.stdout.write('one\\ntw'); process.stdout.write('o\\n'); return }
return { args: process.argv.slice(2), mine: process.env.MINE, gone: process.env.GONE, execArgv: process.execArgv, cwd: process.cwd() }`

describe('processes', () => {
  test('args, env, execArgv and cwd', async ({ store, open, disk }) => {
    await publishWorker(store, 'one', REPORT)
    process.env.GONE = 'x'
    const coordinator = open((context) =>
      startProcess(context, 'worker.mjs', {
        args: ['a', 'b c'],
        env: { MINE: '1', GONE: undefined },
        execArgv: ['--no-warnings'],
        execPath: process.execPath,
        cwd: disk,
      }),
    )
    expect(await coordinator.dispatch('x')).toEqual({
      args: ['a', 'b c'],
      mine: '1',
      gone: undefined,
      execArgv: ['--no-warnings'],
      cwd: disk,
    })
    delete process.env.GONE
  })

  test("stdio 'pipe': the handle has the output", async ({ store, open }) => {
    await publishWorker(store, 'one', REPORT)
    let text = ''
    const coordinator = open(async (context) => {
      const handle = await startProcess(context, 'worker.mjs', { stdio: ['pipe', 'ignore'] })
      handle.process.stdout?.on('data', (data) => (text += data))
      return handle
    })
    await coordinator.dispatch('print')
    await expect.poll(() => text, { timeout: 20_000 }).toBe('one\ntwo\n')
  })

  test.for<[ProcessOptions, RegExp]>([
    [{ args: 'a' as never }, /options\.args/],
    [{ env: { A: 1 as never } }, /options\.env\.A/],
    [{ env: { PORT: 'http' }, listen: true }, /options\.env\.PORT/],
    [{ cwd: 'relative' }, /options\.cwd/],
    [{ stdio: 'pope' as never }, /options\.stdio/],
    [{ stdio: 'pipe', outputPrefix: 'x' }, /options\.stdio/],
    [{ listen: 1 as never }, /options\.listen/],
    [{ execPath: 1 as never }, /options\.execPath/],
    [{ lisen: true } as never, /options\.lisen/],
  ])('%o is refused', async ([options, message], { store, open }) => {
    await publishWorker(store, 'one', REPORT)
    const coordinator = open((context) => startProcess(context, 'worker.mjs', options))
    await expect(coordinator.dispatch('x')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    })
  })
})

describe('threads', () => {
  test('args, env, execArgv, resourceLimits and workerData', async ({ store, open }) => {
    await publishWorker(
      store,
      'one',
      'return { args: process.argv.slice(2), mine: process.env.MINE, path: process.env.PATH !== undefined, limit: resourceLimits.maxOldGenerationSizeMb, workerData }',
      "import { resourceLimits, workerData } from 'node:worker_threads'",
    )
    const coordinator = open((context) =>
      startWorkerThread(context, 'worker.mjs', {
        args: ['a'],
        env: { MINE: '1' },
        resourceLimits: { maxOldGenerationSizeMb: 64 },
        workerData: { x: 1 },
      }),
    )
    expect(await coordinator.dispatch('x')).toEqual({
      args: ['a'],
      mine: '1',
      path: true,
      limit: 64,
      workerData: { x: 1 },
    })
  })

  test.for<[WorkerThreadOptions, RegExp]>([
    [{ args: [1 as never] }, /options\.args\[0\]/],
    [{ env: 'x' as never }, /options\.env/],
    [{ resourceLimits: { stackSizeMb: -1 } }, /resourceLimits\.stackSizeMb/],
    [{ execArgv: 'x' as never }, /options\.execArgv/],
    [{ outputPrefix: 1 as never }, /options\.outputPrefix/],
  ])('%o is refused', async ([options, message], { store, open }) => {
    await publishWorker(store, 'one', REPORT)
    const coordinator = open((context) => startWorkerThread(context, 'worker.mjs', options))
    await expect(coordinator.dispatch('x')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    })
  })
})
