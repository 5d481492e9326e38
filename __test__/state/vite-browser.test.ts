// @module-tag system
/** state/browser-is-left-to-vite: what the browser sees over a re-optimization is Vite's own doing, with the plugins as without them. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import warmswap from 'warmswap/vite'
import { applicationPlugin, openFixture, versions } from '../support/vite.js'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)

// In CI it has to be there.
const isMissing = executablePath === undefined && !process.env.CI

describe.skipIf(isMissing)(`in Chromium${isMissing ? ' (skipped: no Chromium is installed)' : ''}`, () => {
  let browser: BrowserContext
  const profile = mkdtempSync(join(tmpdir(), 'warmswap-test-'))
  beforeAll(async () => {
    // Without these Chromium looks for hosts of its maker at each start.
    const args = [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ]
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: executablePath as string,
      headless: true,
      args,
    })
  })
  afterAll(async () => {
    await browser?.close()
    rmSync(profile, { recursive: true, force: true })
  })

  test.each(versions.flatMap((version) => [true, false].map((ours) => ({ ...version, version, ours }))))(
    '$name, with warmswap: $ours',
    async ({ version, ours }) => {
      const fixture = await openFixture({
        version,
        context: 'kept',
        page: true,
        plugins: [ours && warmswap(), applicationPlugin()],
      })
      const page = await browser.newPage()
      onTestFinished(async () => {
        await page.close()
        await fixture.close()
      })
      let loads = 0
      page.on('domcontentloaded', () => ++loads)
      const url = await fixture.url()
      const isReady = (): Promise<unknown> => page.waitForFunction('document.title === "ready"')

      await page.goto(url)
      await isReady()
      // The discovery reloads the page, by Vite, once.
      await page.evaluate('void discover().catch(() => {})')
      await expect.poll(() => loads, { timeout: 20_000 }).toBe(2)
      await isReady()
      const [one, other] = (await page.evaluate('instances()')) as number[]
      expect(one).toBe(other)
      expect(fixture.reloads.client).toBe(1)

      // A stale file stays Vite's 504 (Vite 6 serves it).
      const stale = await fetch(`${url}/node_modules/.vite/deps/dep-a.js?v=00000000`)
      expect(stale.status).toBe(version.silent ? 200 : 504)

      // A re-optimization of `ssr` is none of the browser's business.
      await fetch(`${url}/app/route-a`)
      const rendered = await fetch(`${url}/app/route-b`)
      if (ours)
        expect([rendered.status, ((await rendered.json()) as { store: unknown }).store]).toEqual([200, { user: 'ada' }])
      expect(fixture.reloads.ssr).toBe(1)
      // One more page that Vite serves: whatever was sent to the browser has arrived before.
      await page.evaluate('fetch("/src/client.js").then((response) => response.text())')
      expect(loads).toBe(2)
      expect(fixture.reloads.client).toBe(1)
    },
  )
})
