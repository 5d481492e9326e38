/**
 * Runs many command lines of dist/cli.js one after the other in this process, each with a fresh copy of the program: a
 * process for each would take a fifth of a second. Reads { program, calls } from standard input, and writes the results.
 */

import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'

const { program, calls } = JSON.parse(await text(process.stdin))
// Each copy listens for signals and for a closed pipe.
process.setMaxListeners(0)
process.stdout.setMaxListeners(0)
const write = process.stdout.write.bind(process.stdout)
const results = []
for (const [index, args] of calls.entries()) {
  const result = { code: undefined, out: '', errors: '' }
  results.push(result)
  process.argv = [process.execPath, program, ...args]
  process.exitCode = undefined
  process.stdout.write = (chunk) => {
    result.out += chunk
    return true
  }
  process.stderr.write = (chunk) => {
    result.errors += chunk
    return true
  }
  await import(`${pathToFileURL(program)}?call=${index}`)
  // The program sets it as its last act.
  while (process.exitCode === undefined) await new Promise((resolve) => setTimeout(resolve, 1))
  result.code = process.exitCode
}
process.exitCode = 0
write(JSON.stringify(results))
