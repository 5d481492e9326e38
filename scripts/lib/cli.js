// The command lines of the scripts that a contributor calls.
import { parseArgs } from 'node:util'

/** Parses a command line. Prints `usage` and ends for --help, and with code 2 for an unknown option. */
export function parseCommand({ usage, known, options = {} }) {
  let parsed
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: { help: { type: 'boolean', short: 'h', default: false }, ...options },
    })
  } catch (error) {
    fail(error.message, usage)
  }
  if (parsed.values.help) {
    console.log(known.length > 0 ? `${usage}\n\nCapabilities: ${known.join(', ')}` : usage)
    process.exit(0)
  }
  return parsed
}

/** Like `parseCommand`, for a command whose first word is one of the `known` capabilities. */
export function parseCapability(command) {
  const { values, positionals } = parseCommand(command)
  const [capability, ...rest] = positionals
  expectKnown([capability], command)
  return { values, capability, rest }
}

/** Ends with code 2 if one of the names is not a capability. */
export function expectKnown(names, { usage, known }) {
  const unknown = names.find((name) => !known.includes(name))
  if (names.every((name) => known.includes(name))) return
  const problem = unknown === undefined ? 'No capability given' : `Unknown capability: ${unknown}`
  fail(`${problem}. Expected one of: ${known.join(', ')}`, usage)
}

function fail(message, usage) {
  console.error(`warmswap: ${message}\n\n${usage}`)
  process.exit(2)
}
