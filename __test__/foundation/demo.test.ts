// @module-tag storm
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const demo = join(repository, 'examples/dev-server/demo/demo.js')

test('warmswap keeps its guarantees in the demo, and the other methods show their problems', {
  timeout: 300_000,
}, () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [demo, '--seconds', '5', '--patience', '4'], {
    cwd: repository,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const figure = (label: string) => {
    const [, today, careful, warmswap] =
      new RegExp(`^${label} +([\\d.]+) +([\\d.]+) +([\\d.]+)$`, 'm').exec(stdout) ?? []
    return { today: Number(today), careful: Number(careful), warmswap: Number(warmswap) }
  }
  expect(figure('requests answered').warmswap).toBeGreaterThan(100)
  expect(figure('edits').warmswap).toBeGreaterThan(10)
  expect(figure('builders SIGKILLed').warmswap).toBeGreaterThan(0)
  // The load proves something only if today's method fails under it.
  expect(figure('requests failed').today).toBeGreaterThan(0)
  expect(figure('seconds behind the orphaned lock').today).toBeGreaterThan(1)
  expect(figure('seconds behind the orphaned lock').careful).toBeGreaterThan(1)
  expect(figure('requests answered').careful).toBeGreaterThan(100)
  const [verdict, next] = stdout.trimEnd().split('\n').slice(-2)
  expect(verdict).toMatch(
    /^Verdict: warmswap answered \d+ requests without a failure.*; today's method failed \d+ requests/,
  )
  expect(next).toMatch(/^Next: read examples\/dev-server\/ways\/warmswap\.js/)
})

test('the served page reports edits, failed builds and restarts', { timeout: 60_000 }, async () => {
  const server = spawn(process.execPath, [demo, '--serve', '--port', '0'], {
    cwd: repository,
    env: { ...process.env, NO_COLOR: '1' },
  })
  try {
    const [line] = (await once(createInterface({ input: server.stdout }), 'line')) as [string]
    const url = line.split(' ')[0] ?? ''
    interface Status {
      generation: number
      incarnation: number
      lastError: string | null
      swapMs: number | null
      startMs: number
    }
    const status = async () => (await (await fetch(`${url}__status`)).json()) as Status
    const until = async (condition: (now: Status) => boolean) => {
      for (;;) {
        const now = await status()
        if (condition(now)) return now
      }
    }
    expect(await (await fetch(url)).text()).toContain('id="incarnation"')
    const first = await status()
    await fetch(`${url}__edit`, { method: 'POST' })
    const edited = await until(({ generation, swapMs }) => generation > first.generation && swapMs !== null)
    expect(edited.swapMs).toBeGreaterThan(0)
    expect(edited.startMs).toBeGreaterThan(0)
    await Promise.all(Array.from({ length: 10 }, () => fetch(`${url}__reboot`, { method: 'POST' })))
    const rebooted = await status()
    expect(rebooted).toMatchObject({ generation: edited.generation, incarnation: edited.incarnation + 1 })
    await fetch(`${url}__break`, { method: 'POST' })
    const broken = await until(({ lastError }) => lastError !== null)
    expect(broken.lastError).toContain('page.ts')
    expect((await fetch(`${url}page`)).status).toBe(200)
    await fetch(`${url}__fix`, { method: 'POST' })
    await until(({ lastError }) => lastError === null)
  } finally {
    server.kill('SIGTERM')
    await once(server, 'close')
  }
})

test('without cargo and a compiler, one sentence says what to install', ({ disk }) => {
  // 'command -v' of sh is how the script looks for programs.
  symlinkSync('/bin/sh', join(disk, 'sh'))
  const script = join(repository, 'scripts/demo.js')
  const { stdout, stderr, status } = spawnSync(process.execPath, [script], { encoding: 'utf8', env: { PATH: disk } })
  expect([status, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(
    /^The demo compiles the native addon: install Rust .* and a C compiler .*, then run 'npm run demo' again\.\n$/,
  )
})
