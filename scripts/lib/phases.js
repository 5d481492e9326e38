// The phases of `npm test`, which may run at the same time. The output of each is kept and printed when it ends.
import { killAll, start } from './background.js'

const timings = []

/** A command of a phase failed, or its result does not exist. */
export class PhaseError extends Error {}

/**
 * Runs `work` and prints its output under its name. Its argument starts commands: `run` rejects if one fails, `attempt`
 * resolves with its exit code.
 */
export async function phase(name, work) {
  console.log(`── ${name}: started`)
  const began = performance.now()
  let output = ''
  const onOutput = (text) => {
    output += text
  }
  const attempt = (command, args, options = {}) => start(command, args, { ...options, onOutput })
  const run = async (command, args, options) => {
    const { status, signal } = await attempt(command, args, options)
    if (status !== 0)
      throw new PhaseError(`${name}: '${[command, ...args].join(' ')}' ended with ${signal ?? `exit code ${status}`}`)
  }
  try {
    return await work({ run, attempt, log: (line) => onOutput(`${line}\n`) })
  } finally {
    const seconds = (performance.now() - began) / 1000
    timings.push([name, seconds])
    console.log(`\n── ${name}: ${seconds.toFixed(0)} s\n${output}`)
  }
}

/** Adds a line to the table of times. */
export function addTiming(name, seconds) {
  timings.push([name, seconds])
}

export function printTimings() {
  console.log(
    `\n${timings.map(([name, seconds]) => `${name.padEnd(18)} ${seconds.toFixed(0).padStart(5)} s`).join('\n')}\n`,
  )
}

/** Ends all running commands. This script ends by itself once its output is written. */
export function giveUp(error) {
  killAll()
  console.error(`warmswap: ${error instanceof PhaseError ? error.message : error.stack}`)
  process.exitCode = 1
}
