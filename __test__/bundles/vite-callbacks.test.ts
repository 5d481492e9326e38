/** An onPublish that fails: a plain build fails with it, a watcher reports it and continues. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Rolldown } from 'vite'
import { describe, expect } from 'vitest'
import { atomicOutDir } from 'warmswap/vite'
import { test } from '../support/temp.js'
import { watched } from '../support/uncaught.js'
import { type Vite, versions } from '../support/vite.js'

const fail = async (): Promise<never> => {
  throw new Error('a bug of onPublish')
}

describe.each(versions)('$name', ({ package: name }) => {
  const write = (root: string, text: string): void => {
    mkdirSync(root, { recursive: true })
    writeFileSync(join(root, 'index.html'), '<script type="module" src="/main.js"></script>')
    writeFileSync(join(root, 'main.js'), `console.log('${text}')`)
  }
  const config = (root: string, build: object) => ({
    root,
    build,
    configFile: false as const,
    logLevel: 'silent' as const,
    plugins: [atomicOutDir({ apply: 'always', onPublish: fail })],
  })

  test('a plain build rejects, and its output is published', async ({ disk }) => {
    const vite = (await import(name)) as Vite
    write(disk, 'one')
    const seen = await watched(async () => {
      await expect(vite.build(config(disk, {}))).rejects.toThrow('a bug of onPublish')
    })
    expect(seen.uncaught).toEqual([])
    expect(readFileSync(join(disk, 'dist/index.html'), 'utf8')).toContain('script')
  })

  test('a watcher continues, and publishes the next build', async ({ disk }) => {
    const vite = (await import(name)) as Vite
    write(disk, 'one')
    let published = 0
    const given = config(disk, { watch: {}, rollupOptions: { output: { entryFileNames: 'main.js' } } })
    const onPublish = (): never => {
      published += 1
      return fail() as never
    }
    given.plugins = [atomicOutDir({ onPublish })]
    const seen = await watched(async () => {
      const watcher = (await vite.build(given)) as Rolldown.RolldownWatcher
      await expect.poll(() => published, { timeout: 10_000 }).toBe(1)
      let round = 0
      await expect
        .poll(
          () => {
            write(disk, `round ${++round}`)
            return published
          },
          { timeout: 10_000, interval: 300 },
        )
        .toBeGreaterThan(1)
      await watcher.close()
    })
    expect(seen.uncaught).toEqual([])
    expect(seen.warnings.filter(({ code }) => code === 'WARMSWAP_CALLBACK_FAILED').length).toBeLessThanOrEqual(1)
    expect(readFileSync(join(disk, 'dist/main.js'), 'utf8')).toContain('round')
  })
})
