// Commands that run at the same time. None of them outlives this script.
import { spawn } from 'node:child_process'
import { root } from './process.js'

const running = new Set()

/**
 * Starts a command in a process group of its own and hands its output to `onOutput`. Resolves with its exit code, and
 * with what it wrote to standard output. Every command that still runs when this script ends is killed.
 */
export function start(command, args, { onOutput = (text) => process.stdout.write(text), env = {}, nice = 0 } = {}) {
  const [program, ...rest] = nice > 0 ? ['nice', '-n', String(nice), command, ...args] : [command, ...args]
  const child = spawn(program, rest, {
    cwd: root,
    detached: true,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
    onOutput(text)
  })
  child.stderr.setEncoding('utf8').on('data', onOutput)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => {
      running.delete(child)
      resolve({ status, signal, stdout })
    })
  })
}

/** Ends the process group of every command that was started and still runs. */
export function killAll(signal = 'SIGKILL') {
  for (const { pid } of running) {
    try {
      process.kill(-pid, signal)
    } catch {
      // It has ended.
    }
  }
}

process.on('exit', () => killAll())
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
])
  process.on(signal, () => {
    // vitest and cargo end their own children when they are asked to end.
    killAll('SIGTERM')
    setTimeout(() => process.exit(code), running.size > 0 ? 1000 : 0)
  })
