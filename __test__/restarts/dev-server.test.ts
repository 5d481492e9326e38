/** The dev server of docs/guide/dev-server.md, run as it stands there. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { test } from 'warmswap/vitest'
import { blocksOf, folderWith } from '../support/docs.js'

test('the dev server of the guide reloads on an edit, and shows an edit that does not build on standard error alone', {
  timeout: 120_000,
}, async ({ race, onTestFinished }) => {
  const [server = '', worker = ''] = blocksOf('docs/guide/dev-server.md').map(({ code }) => code)
  const cwd = folderWith(server, onTestFinished)
  mkdirSync(join(cwd, 'src'))
  const edit = (text: string): void => writeFileSync(join(cwd, 'src/worker.mjs'), text)
  edit(worker)
  const port = await race.port()
  const command = [process.execPath, 'program.mjs']
  const host = await race.start({ command, cwd, env: { PORT: String(port.number) }, port, ready: { line: /^http/ } })
  const ask = async (): Promise<string> => await (await fetch(`http://localhost:${port.number}/`)).text()
  expect(await ask()).toBe('hello from generation 1\n')
  edit(worker.replace('hello', 'good morning'))
  await expect.poll(ask, { timeout: 60_000 }).toMatch(/^good morning from generation \d+\n$/)
  edit('serveFetch(')
  await expect.poll(() => host.output.stderr, { timeout: 60_000 }).toContain('Unexpected end of file')
  expect(await ask()).toMatch(/^good morning/)
})
