// One start of the tool: tool.js <today|warmswap> <folder>. Prewarms the template, then reports that it is ready.
import { existsSync, readFileSync, renameSync, writeFileSync, appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { prewarm } from 'warmswap'
import { mkdirLock } from './today.js'

const [way, folder] = process.argv.slice(2)
const template = join(folder, 'template.json')
const lockPath = join(folder, 'locks', 'template.lock')
const isReady = () => (existsSync(template) ? JSON.parse(readFileSync(template, 'utf8')) : undefined)

async function makeTemplate() {
  appendFileSync(join(folder, 'runs'), `${process.pid}\n`)
  console.log('prewarming')
  await new Promise((resolve) => setTimeout(resolve, 150))
  writeFileSync(`${template}.${process.pid}`, '{"layers":3}')
  renameSync(`${template}.${process.pid}`, template)
  return { layers: 3 }
}

if (way === 'warmswap') {
  await prewarm(lockPath, { isReady, run: makeTemplate })
} else {
  // Ten seconds instead of the usual fifteen minutes: the outcome is the same.
  const release = await mkdirLock(lockPath, { timeoutMs: 10_000 })
  if (isReady() === undefined) await makeTemplate()
  await release()
}
console.log('ready')
