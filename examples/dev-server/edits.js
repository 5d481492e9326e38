// Edits of the app's sources, as an editor makes them.
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const MISTAKE = '\nthis does not compile'

/** Editors save by rename, so that no reader sees half a file. */
async function save(file, text) {
  await writeFile(`${file}.saving`, text)
  await rename(`${file}.saving`, file)
}

export function editsOf(app) {
  const revision = join(app, 'src/revision.txt')
  const page = join(app, 'src/routes/page.ts')
  return {
    /** Writes the next revision, which every chunk contains. Resolves with it. */
    async edit() {
      const next = Number(await readFile(revision, 'utf8')) + 1
      await save(revision, `${next}\n`)
      return next
    },
    /** Adds a syntax error to a route. */
    async breakBuild() {
      const text = await readFile(page, 'utf8')
      if (!text.endsWith(MISTAKE)) await save(page, text + MISTAKE)
    },
    /** Removes the syntax error. */
    async fixBuild() {
      const text = await readFile(page, 'utf8')
      if (text.endsWith(MISTAKE)) await save(page, text.slice(0, -MISTAKE.length))
    },
  }
}
