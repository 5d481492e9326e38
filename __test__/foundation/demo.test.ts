// @module-tag system
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'
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
  expect(figure('edits').warmswap).toBeGreaterThan(1)
  expect(figure('builders SIGKILLed').warmswap).toBeGreaterThan(0)
  // The load proves something only if today's method works between its failures.
  expect(figure('requests failed').today).toBeGreaterThan(0)
  expect(figure('requests answered').today).toBeGreaterThan(0)
  expect(figure('seconds behind the orphaned lock').today).toBeGreaterThan(1)
  expect(figure('seconds behind the orphaned lock').careful).toBeGreaterThan(1)
  expect(figure('requests answered').careful).toBeGreaterThan(100)
  const [verdict, next] = stdout.trimEnd().split('\n').slice(-2)
  expect(verdict).toMatch(
    /^Verdict: warmswap answered \d+ requests without a failure.*; today's method failed \d+ requests/,
  )
  expect(next).toMatch(/^Next: read examples\/dev-server\/ways\/warmswap\.js/)
})

/** Runs the demo's server, and ends it after the work. */
async function withServer(work: (url: string) => Promise<void>): Promise<void> {
  const server = spawn(process.execPath, [demo, '--serve', '--port', '0'], {
    cwd: repository,
    env: { ...process.env, NO_COLOR: '1' },
  })
  try {
    const [line] = (await once(createInterface({ input: server.stdout }), 'line')) as [string]
    await work(line.split(' ')[0] ?? '')
  } finally {
    server.kill('SIGTERM')
    await once(server, 'close')
  }
}

test('the served page reports edits, failed builds and restarts', { timeout: 60_000 }, () =>
  withServer(async (url) => {
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
    const reboot = `${url}__reboot?observed=${edited.incarnation}`
    await Promise.all(Array.from({ length: 10 }, () => fetch(reboot, { method: 'POST' })))
    const rebooted = await status()
    expect(rebooted).toMatchObject({ generation: edited.generation, incarnation: edited.incarnation + 1 })
    await fetch(`${url}__break`, { method: 'POST' })
    const broken = await until(({ lastError }) => lastError !== null)
    expect(broken.lastError).toContain('page.ts')
    expect((await fetch(`${url}page`)).status).toBe(200)
    await fetch(`${url}__fix`, { method: 'POST' })
    await until(({ lastError }) => lastError === null)
  }),
)

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
// In CI it has to be there.
const isMissing = executablePath === undefined && !process.env.CI

test.skipIf(isMissing)(
  `the buttons of the page show what they did, and no request fails${isMissing ? ' (skipped: no Chromium is installed)' : ''}`,
  { timeout: 120_000 },
  () =>
    withServer(async (url) => {
      const profile = mkdtempSync(join(tmpdir(), 'warmswap-test-'))
      const args = ['--no-sandbox', '--no-first-run', '--disable-background-networking', '--disable-component-update']
      const browser = await chromium.launchPersistentContext(profile, {
        executablePath: executablePath as string,
        args,
      })
      try {
        const page = await browser.newPage()
        await page.goto(url)
        const text = (id: string) => page.locator(`#${id}`).textContent()
        const press = async (action: string): Promise<string | null> => {
          await page.locator(`button[data-action=${action}]`).click()
          await page.locator(`button[data-action=${action}]:enabled`).waitFor({ timeout: 60_000 })
          return await text('effect')
        }
        expect(await press('edit')).toMatch(/^Generation 1 was replaced by \d+, \d+ ms after the edit\.$/)
        expect(await text('swapMs')).toMatch(/^\d+ ms$/)
        expect(await text('startMs')).toMatch(/^\d+ ms$/)
        expect(await press('reboot')).toMatch(
          /^10 requests caused 1 start in \d+ ms\. Worker \d+ answers, with generation \d+/,
        )
        expect(Number(await text('incarnation'))).toBeGreaterThan(2)
        expect(await press('break')).toMatch(/^The build fails\. Generation \d+ continues to answer/)
        expect(await text('state')).toMatch(/^The build fails\. Generation \d+ continues to answer\.$/)
        expect(await text('error')).toContain('page.ts:10')
        expect(Number(await text('failedBuilds'))).toBeGreaterThan(0)
        expect(await press('fix')).toMatch(/^The build works: generation \d+ answers\.$/)
        expect(await page.locator('#error').isHidden()).toBe(true)
        expect(await text('failed')).toMatch(/^0 of \d+$/)
      } finally {
        await browser.close()
        rmSync(profile, { recursive: true, force: true })
      }
    }),
)

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
