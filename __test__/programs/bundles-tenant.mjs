// Runs inside a generation: its working directory is the bundle. Responds to each line of its standard input.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { takeOver } from 'warmswap'

if (process.send) await takeOver()
console.log('ready')
for await (const _line of createInterface({ input: process.stdin })) {
  const lazy = await import('./lazy.mjs').catch((error) => ({ default: error.code }))
  console.log(
    JSON.stringify({
      cwd: process.cwd(),
      relative: readFileSync('a', 'utf8'),
      shell: execFileSync('pwd', { encoding: 'utf8' }).trim(),
      lazy: lazy.default,
    }),
  )
}
