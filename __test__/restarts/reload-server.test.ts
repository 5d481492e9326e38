/**
 * examples/reload-server: the problems of nitro and sst, with today's method and with warmswap, and the server itself.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect } from 'vitest'
import { test } from 'warmswap/vitest'
import { repository } from '../support/paths.js'

const folder = join(repository, 'examples/reload-server')
// biome-ignore lint/suspicious/noExplicitAny: the examples are JavaScript.
type Anything = any
const load = (name: string): Promise<Record<string, Anything>> => import(pathToFileURL(join(folder, name)).href)

describe('examples/reload-server', () => {
  test('nitro: today the older of two reloads wins; with warmswap the newer one does', async () => {
    const { olderReload } = await load('scenario.js')
    expect(await olderReload((await load('ways/today.js')).createWay)).toBe('revision 2')
    expect(await olderReload((await load('ways/warmswap.js')).createWay)).toBe('revision 3')
  })

  test('sst: today the reboot is dropped and the requests are lost; with warmswap all are answered', async () => {
    const { swallowedRequest } = await load('scenario.js')
    expect(await swallowedRequest((await load('ways/today.js')).createWay)).toEqual({
      reboot: 'worker already exists',
      answers: ['no answer', 'no answer', 'no answer'],
    })
    expect(await swallowedRequest((await load('ways/warmswap.js')).createWay)).toEqual({
      reboot: expect.stringMatching(/^(started|joined)$/),
      answers: ['revision 1', 'revision 1', 'revision 1'],
    })
  })

  test('the server reloads on an edit, and an edit that does not build leaves the old one answering', async ({
    race,
    tempRoot,
  }) => {
    mkdirSync(join(tempRoot, 'src'))
    const edit = (text: string): void => writeFileSync(join(tempRoot, 'src/handler.ts'), text)
    edit("export const handler = (url: string): string => 'one ' + url")
    const server = await race.start({
      command: [process.execPath, join(folder, 'server.js'), tempRoot],
      ready: { line: /^http/ },
    })
    const [url] = /^http.*/m.exec(server.output.stdout) ?? []
    const ask = async (): Promise<string> => (await fetch(`${url}/path`)).text()
    expect(await ask()).toBe('one /path\n')
    edit("export const handler = (url: string): string => 'two ' + url")
    await expect.poll(ask, { timeout: 20_000 }).toBe('two /path\n')
    edit('export const handler = (')
    await expect.poll(() => server.output.stderr, { timeout: 20_000 }).toContain('not reloaded')
    expect(await ask()).toBe('two /path\n')
  })
})
