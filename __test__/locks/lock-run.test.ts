// @module-tag system
/** `warmswap lock run`: the lock is held as long as the command runs, and signals reach it at any moment. */

// guarantee: locks/command-keeps-the-lock

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { acquireLock, inspectLock, isWarmswapError, tryLock } from 'warmswap'
import { describe, expect } from 'vitest'
import { isAlive } from '../support/alive.js'
import { type Child, start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test as base } from '../support/temp.js'

const cli = join(repository, 'dist/cli.js')
const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
const numbers = { SIGTERM: 15, SIGINT: 2, SIGHUP: 1 }

/** `lease`: a folder on ramfs, whose locks are kept by lease. Needs root. */
const test = base.extend<{ lease: string }>({
  lease: async ({ memory }, use) => {
    const folder = join(memory, 'ramfs')
    mkdirSync(folder)
    execFileSync('mount', ['-t', 'ramfs', 'ramfs', folder])
    await use(folder)
    execFileSync('umount', ['-l', folder])
  },
})
const mounts =
  process.getuid?.() === 0 && spawnSync('unshare', ['-m', 'mount', '-t', 'ramfs', 'ramfs', '/mnt']).status === 0

/** A wrapper whose command has started: `sleep`, by the pid that it prints. */
async function running(path: string, ...args: string[]): Promise<{ wrapper: Child; command: number }> {
  const wrapper = start(process.execPath, [
    cli,
    'lock',
    'run',
    ...args,
    path,
    '--',
    'sh',
    '-c',
    'echo pid $$; exec sleep 600',
  ])
  return { wrapper, command: Number((await wrapper.line(/^pid/)).split(' ')[1]) }
}

async function expectFree(path: string): Promise<void> {
  const lock = await acquireLock(path, { timeoutMs: 10_000 })
  lock.release()
}

async function timedOut(
  path: string,
  options: Parameters<typeof acquireLock>[1] = {},
): Promise<{ message: string; holder: unknown }> {
  const error: unknown = await acquireLock(path, { timeoutMs: 50, ...options }).then(
    (lock) => lock.release(),
    (error: unknown) => error,
  )
  expect(isWarmswapError(error) && error.code).toBe('ERR_LOCK_TIMEOUT')
  return error as { message: string; holder: unknown }
}

const why = (path: string): string => execFileSync(process.execPath, [cli, 'lock', 'why', path], { encoding: 'utf8' })

test('kernel mode: the command keeps the lock of a wrapper that was killed, and is named', async ({ memory }) => {
  const path = join(memory, 'key.lock')
  const { wrapper, command } = await running(path)
  expect((await inspectLock(path)).holder).toMatchObject({ pid: wrapper.pid })
  process.kill(wrapper.pid, 'SIGKILL')
  await expect.poll(() => isAlive(wrapper.pid), { timeout: 10_000 }).toBe(false)

  const child = { pid: command, command: 'sleep 600', inheritedFrom: wrapper.pid }
  expect(await tryLock(path)).toBe(null)
  expect(await inspectLock(path)).toMatchObject({ held: true, liveness: 'alive', holder: child })
  const told: unknown[] = []
  const { message, holder } = await timedOut(path, { onWait: (facts) => told.push(facts) })
  expect(holder).toMatchObject(child)
  expect(message).toContain(`held by pid ${command} (sleep 600) which inherited it from pid ${wrapper.pid} since`)
  expect(told[0]).toMatchObject({ liveness: 'alive', holder: child })
  expect((await timedOut(path, { mode: 'lease' })).holder).toMatchObject(child)
  expect(why(path)).toMatch(
    new RegExp(
      `is held by pid ${command} on \\S+ 'sleep 600', which inherited it from pid ${wrapper.pid}, since .* That child has the lock's descriptor`,
    ),
  )

  process.kill(command, 'SIGKILL')
  await expectFree(path)
})

test('a lock whose last child has ended has no holder, although no process has acquired it since', async ({
  memory,
}) => {
  const path = join(memory, 'key.lock')
  const { wrapper, command } = await running(path)
  process.kill(wrapper.pid, 'SIGKILL')
  process.kill(command, 'SIGKILL')
  await wrapper.ended
  await expect.poll(() => isAlive(command), { timeout: 10_000 }).toBe(false)
  expect(await inspectLock(path)).toMatchObject({ held: false, liveness: 'dead', holder: { pid: wrapper.pid } })
  await expectFree(path)
})

test('a background process of the command keeps the lock of a killed wrapper, and is named', async ({ memory }) => {
  const path = join(memory, 'key.lock')
  const wrapper = start(process.execPath, [
    cli,
    'lock',
    'run',
    path,
    '--',
    'sh',
    '-c',
    'sleep 601 >/dev/null 2>&1 & echo pid $!; read -r x',
  ])
  const left = Number((await wrapper.line(/^pid/)).split(' ')[1])
  process.kill(wrapper.pid, 'SIGKILL')
  await expect
    .poll(async () => (await inspectLock(path)).holder, { timeout: 10_000 })
    .toMatchObject({ pid: left, command: 'sleep 601', inheritedFrom: wrapper.pid })
  process.kill(left, 'SIGKILL')
  await expectFree(path)
})

test('a thread that left its lock to a child: the child is named, although the process is alive', async ({
  memory,
}) => {
  const path = join(memory, 'key.lock')
  const program = `import { acquireLock } from ${JSON.stringify(pathToFileURL(join(repository, 'dist/index.js')).href)}
    import { spawn } from 'node:child_process'
    import { parentPort, workerData } from 'node:worker_threads'
    const lock = await acquireLock(workerData, { coverChildren: true })
    parentPort.postMessage(spawn('sleep', ['602'], { stdio: ['ignore', 'ignore', 'ignore', lock.childFd()], detached: true }).pid)
    setInterval(() => {}, 1e6)`
  const thread = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`), { workerData: path })
  const child = await new Promise<number>((resolve, reject) => thread.once('message', resolve).once('error', reject))
  expect((await inspectLock(path)).holder).toMatchObject({ pid: process.pid })
  await thread.terminate()
  await expect
    .poll(async () => (await inspectLock(path)).holder, { timeout: 10_000 })
    .toMatchObject({ pid: child, command: 'sleep 602', inheritedFrom: process.pid })
  process.kill(child, 'SIGKILL')
  await expectFree(path)
})

test('--timeout and --no-wait end with exit code 75 while the lock is held, and name the holder', async ({
  memory,
}) => {
  const path = join(memory, 'key.lock')
  const lock = await acquireLock(path)
  const run = (...options: string[]) =>
    spawnSync(process.execPath, [cli, 'lock', 'run', ...options, path, '--', 'echo', 'ran'], { encoding: 'utf8' })
  for (const options of [['--no-wait'], ['--timeout', '50ms', '--quiet']]) {
    const { status, stdout, stderr } = run(...options)
    expect({ status, stdout }).toEqual({ status: 75, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^warmswap: [^\\n]*held by pid ${process.pid}[^\\n]* \\[ERR_LOCK_TIMEOUT\\]\\n$`))
  }
  expect(JSON.parse(run('--no-wait', '--json').stdout)).toMatchObject({ outcome: 'error', code: 'ERR_LOCK_TIMEOUT' })
  expect(run('--no-wait', '--timeout', '1s').status).toBe(2)
  lock.release()
  expect(run('--no-wait')).toMatchObject({ status: 0, stdout: 'ran\n', stderr: '' })
})

test('--metadata is reported with the holder, and must be an object', async ({ memory }) => {
  const path = join(memory, 'key.lock')
  const { command } = await running(path, '--metadata', '{"url":"http://localhost:3000"}')
  expect((await inspectLock(path)).holder?.metadata).toMatchObject({ url: 'http://localhost:3000', directory: memory })
  const listed = JSON.parse(execFileSync(process.execPath, [cli, 'lock', 'ls', memory, '--json'], { encoding: 'utf8' }))
  expect(listed).toMatchObject([{ path, state: 'held', holder: { metadata: { url: 'http://localhost:3000' } } }])
  const explained = execFileSync(process.execPath, [cli, 'lock', 'why', path, '--json'], { encoding: 'utf8' })
  expect(JSON.parse(explained)).toMatchObject({ state: 'held', held: true, explanation: expect.stringContaining(path) })
  process.kill(command, 'SIGKILL')
  await expectFree(path)
  for (const value of ['[]', 'secret', '7']) {
    const { status, stderr } = spawnSync(
      process.execPath,
      [cli, 'lock', 'run', '--metadata', value, path, '--', 'true'],
      { encoding: 'utf8' },
    )
    expect({ status, stderr: stderr.replace(value, '') }).toMatchObject({ status: 2, stderr })
  }
})

test.for(['--close', '-o'])(
  '%s: the lock of a killed wrapper is free, while the command continues',
  async (option, { memory }) => {
    const path = join(memory, 'key.lock')
    const { wrapper, command } = await running(path, option)
    expect(await tryLock(path)).toBe(null)
    process.kill(wrapper.pid, 'SIGKILL')
    await expectFree(path)
    expect(isAlive(command)).toBe(true)
    process.kill(command, 'SIGKILL')
  },
)

describe.skipIf(!mounts)('lease mode', () => {
  test('a separate holder keeps the lock until the command ends, however the wrapper ends', async ({ lease }) => {
    const path = join(lease, 'key.lock')
    const { wrapper, command } = await running(path)
    process.kill(-wrapper.pid, 'SIGINT')
    await expect.poll(() => isAlive(command), { timeout: 10_000 }).toBe(false)
    expect(await wrapper.ended).toEqual({ code: 130, signal: null })
    expect((await inspectLock(path)).held).toBe(false)

    const second = await running(path)
    process.kill(second.wrapper.pid, 'SIGKILL')
    await expect.poll(() => isAlive(second.wrapper.pid), { timeout: 10_000 }).toBe(false)
    const { held, holder, liveness } = await inspectLock(path)
    expect({ held, liveness }).toEqual({ held: true, liveness: 'alive' })
    expect([second.wrapper.pid, second.command]).not.toContain(holder?.pid)
    await timedOut(path)
    process.kill(second.command, 'SIGKILL')
    await expectFree(path)
    await expect.poll(() => isAlive(holder?.pid as number), { timeout: 10_000 }).toBe(false)
  })

  test('a holder that ends takes the command with it, and a wrapper that is killed while it waits leaves none', async ({
    lease,
  }) => {
    const path = join(lease, 'key.lock')
    const { wrapper, command } = await running(path)
    const { holder } = await inspectLock(path)
    const waiting = start(process.execPath, [cli, 'lock', 'run', path, '--', 'true'])
    process.kill(waiting.pid, 'SIGKILL')
    process.kill(holder?.pid as number, 'SIGKILL')
    expect(await wrapper.ended).toEqual({ code: 143, signal: null })
    expect(isAlive(command)).toBe(false)
    await expectFree(path)
  })

  test('exit codes and a command that cannot be started', ({ lease }) => {
    const path = join(lease, 'key.lock')
    const run = (...command: string[]): number | null =>
      spawnSync(process.execPath, [cli, 'lock', 'run', path, '--', ...command]).status
    expect([run('sh', '-c', 'exit 7'), run('warmswap-no-such-program'), run('sh', '-c', 'kill -9 $$')]).toEqual([
      7, 127, 137,
    ])
  })
})

describe.each(signals)('%s', (signal) => {
  test("reaches a command that handles it, and its exit code is the wrapper's", async ({ memory }) => {
    const path = join(memory, 'key.lock')
    const wrapper = start(process.execPath, [
      cli,
      'lock',
      'run',
      path,
      '--',
      'sh',
      '-c',
      "trap 'exit 42' TERM INT HUP; echo up; while :; do sleep 0.02; done",
    ])
    await wrapper.line(/^up/)
    process.kill(wrapper.pid, signal)
    expect(await wrapper.ended).toEqual({ code: 42, signal: null })
    expect((await inspectLock(path)).held).toBe(false)
  })

  test('ends a wait for the lock', async ({ memory }) => {
    const path = join(memory, 'key.lock')
    const lock = await acquireLock(path)
    const wrapper = start(process.execPath, [cli, 'lock', 'run', path, '--', 'true'])
    await expect.poll(() => wrapper.stderr(), { timeout: 20_000 }).toContain('waiting for')
    process.kill(wrapper.pid, signal)
    expect(await wrapper.ended).toEqual({ code: 128 + numbers[signal], signal: null })
    lock.release()
    await expectFree(path)
  })

  test('at any moment of the start: no command keeps running, and the lock is free', async ({ memory }) => {
    const rounds = Array.from({ length: 8 }, async (_, round) => {
      const path = join(memory, `key-${round}.lock`)
      const file = join(memory, `pid-${round}`)
      const wrapper = start(process.execPath, [
        cli,
        'lock',
        'run',
        path,
        '--',
        'sh',
        '-c',
        `echo $$ > ${file}; exec sleep 600`,
      ])
      // From before Node has read its first file until the command has been started.
      await new Promise((resolve) => setTimeout(resolve, round * 60 * Math.random()))
      if (round % 2 === 0) await expect.poll(() => existsSync(path), { interval: 1, timeout: 20_000 }).toBe(true)
      process.kill(wrapper.pid, signal)
      const { code, signal: by } = await wrapper.ended
      expect(by ?? code).toBe(by === null ? 128 + numbers[signal] : signal)
      const command = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
      expect(command > 0 && isAlive(command)).toBe(false)
      const lock = await tryLock(path)
      expect(lock, 'free').not.toBe(null)
      lock?.release()
    })
    await Promise.all(rounds)
  })
})
