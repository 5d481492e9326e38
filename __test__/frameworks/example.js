// examples/redwood as a user runs it: the page counts its visits, also over an edit.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serve } from './hosts.js'

export const examples = { 'rwsdk-example': { program: ['vite/bin/vite.js', '--strictPort'], path: '/' } }

export async function checkExamples(names, { node, prepareExample, record }) {
  for (const name of names) {
    const home = prepareExample()
    const server = await serve(node, home, home, examples[name])
    try {
      const before = await visits(server, 'at')
      const path = join(home, 'src/app/Home.tsx')
      writeFileSync(path, readFileSync(path, 'utf8').replace(' at ', ' on '))
      const after = await visits(server, 'on')
      record(
        `${name}: the visits are counted over an edit`,
        after.count > before.count && after.since === before.since,
        JSON.stringify({ before, after }),
      )
    } catch (error) {
      record(`${name}: the visits are counted over an edit`, false, `${error.stack}\n${server.output.slice(-3000)}`)
    } finally {
      await server.stop()
    }
  }
}

/** What the page shows when its text has this word, which the edit changes. */
async function visits(server, word) {
  const deadline = Date.now() + 120_000
  let last
  while (Date.now() < deadline) {
    last = await fetch(server.url)
      .then((response) => response.text())
      .catch((error) => String(error.cause ?? error))
    const [, count, since, found] = /(\d+) visits since (\S+) (at|on) \//.exec(last) ?? []
    if (found === word) return { count: Number(count), since }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`the page does not show '${word}' in 120 s; the last answer: ${last?.slice(0, 600)}`)
}
