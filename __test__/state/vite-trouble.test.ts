/** The trouble itself, without warmswap: where this does not show, every other test of the Vite plugins is blind. */

import { describe, expect, onTestFinished, test } from 'vitest'
import { type FixtureOptions, openFixture, versions } from '../support/vite.js'

async function open(options: FixtureOptions) {
  const fixture = await openFixture(options)
  onTestFinished(() => fixture.close())
  return fixture
}

describe.each(versions)('$name without warmswap', (version) => {
  test('a re-optimization loses the context and the counter, and the old handler stays lost', async () => {
    const fixture = await open({ version, context: 'plain' })
    const before = await fixture.entry()
    before.counter.value = 41
    const { context, handle } = before
    const first = await handle('route-b').catch((error: unknown) => error)
    if (version.silent) expect(first).not.toHaveProperty('store.user')
    else expect(first).toMatchObject({ code: 'ERR_OUTDATED_OPTIMIZED_DEP' })
    const after = await fixture.entry()
    expect(after.counter.value).toBe(0)
    expect(after.context).not.toBe(context)
    expect((await handle('route-b').catch(() => ({ store: undefined }))).store).toBeUndefined()
    expect(fixture.reloads.ssr).toBe(1)
  })
})
