// @module-tag system
/** The examples, run as a user runs them: two environments with a bridge in Node's runner, and @cloudflare/vite-plugin on workerd. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Child, start } from '../support/children.js'
import { repository } from '../support/paths.js'

interface Page {
  user?: string
  pageInstance: number
  workerInstance: number
  evaluation: string
  visits: { count: number; since: string }
}

/** Starts an example's server. */
async function serve(
  example: string,
  options: { node?: string; env?: Record<string, string> } = {},
): Promise<{ child: Child; get(path: string): Promise<{ status: number; page: Page }> }> {
  const cwd = join(repository, 'examples', example)
  const child = start(options.node ?? process.execPath, ['server.js'], { cwd, env: options.env ?? {} })
  const url = (await child.line(/^ready /)).replace('ready ', '').replace(/\/$/, '')
  return {
    child,
    get: async (path) => {
      const response = await fetch(url + path)
      const text = await response.text()
      return { status: response.status, page: response.ok ? (JSON.parse(text) as Page) : (text as never) }
    },
  }
}

test('examples/redwood-like: without warmswap the request fails, and the worker keeps the old modules', async () => {
  const { get } = await serve('redwood-like', { env: { WITHOUT_WARMSWAP: '1' } })
  expect((await get('/')).status).toBe(200)
  expect((await get('/settings')).status).toBe(500)
  const { page } = await get('/settings')
  expect(page.pageInstance).not.toBe(page.workerInstance)
})

test('examples/redwood-like: the request is answered, the context is kept, the worker is reloaded too', async () => {
  const { child, get } = await serve('redwood-like')
  const { page: before } = await get('/')
  const { status, page } = await get('/settings')
  expect(status).toBe(200)
  expect(page).toMatchObject({ user: 'ada', visits: { since: before.visits.since } })
  const { page: after } = await get('/settings')
  expect(after).toMatchObject({ user: 'ada', visits: { since: before.visits.since } })
  expect(after.pageInstance).toBe(after.workerInstance)
  expect(after.workerInstance).not.toBe(before.workerInstance)
  expect(child.lines.join('\n')).toContain("environments: { ssr: { optimizeDeps: { include: ['forms'] } } },")
})

// @cloudflare/vite-plugin needs Node 22; where this one is older, the npm package of the Node binary is taken.
const node22 =
  Number(process.versions.node.split('.')[0]) >= 22
    ? process.execPath
    : join(repository, 'node_modules/node22-linux-x64/bin/node')
// In CI they have to be there.
const missing = process.env.CI
  ? []
  : [node22, join(repository, 'node_modules/workerd/package.json')].filter((path) => !existsSync(path))

test.skipIf(missing.length > 0)(
  `examples/cloudflare: the AsyncLocalStorage survives a re-optimization on workerd${missing.length > 0 ? ` (skipped: ${missing.join(', ')} is not installed)` : ''}`,
  async () => {
    const { child, get } = await serve('cloudflare', { node: node22 })
    const { page: before } = await get('/')
    expect(before).toMatchObject({ user: 'ada', visits: { count: 1 } })
    // Over the re-optimization: the request runs again in the new module graph, with one instance of ui-kit.
    const { page: during } = await get('/settings')
    expect(during).toMatchObject({ user: 'ada', visits: { count: 3, since: before.visits.since } })
    expect(during.pageInstance).toBe(during.workerInstance)
    await child.line(/program reload/)
    await expect.poll(async () => (await get('/')).page.evaluation, { timeout: 20_000 }).not.toBe(before.evaluation)
    const { page: after } = await get('/settings')
    expect(after).toMatchObject({ user: 'ada', visits: { since: before.visits.since } })
    expect(after.pageInstance).toBe(after.workerInstance)
    expect(child.lines.concat(child.stderr()).join('\n')).toContain('the request was run again')
  },
)
