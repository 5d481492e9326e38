// node scripts/docs.js [--check]   writes what is generated in docs: reference/options.md, reference/api, the table of
// reference/errors.md, and the names of tests in guarantees. With --check it writes nothing and fails if a page is stale.
// It also fails if a public function, parameter, type or member has no description.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { generatedPages, undescribed } from './lib/reference/pages.js'
import { root } from './lib/process.js'

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })

function current(path) {
  try {
    return readFileSync(join(root, path), 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

const stale = Object.entries(generatedPages()).filter(([path, text]) => current(path) !== text)
const missing = undescribed()
for (const problem of missing) console.error(problem)
process.exitCode = missing.length === 0 ? 0 : 1
if (values.check) {
  for (const [path] of stale) console.error(`${path} is stale. Run \`node scripts/docs.js\``)
  if (stale.length > 0) process.exitCode = 1
} else {
  for (const [path, text] of stale) {
    writeFileSync(join(root, path), text)
    console.log(`wrote ${path}`)
  }
}
