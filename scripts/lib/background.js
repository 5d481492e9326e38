// Commands that run at the same time. None of them outlives this script.
import { spawn } from 'node:child_process'
import { root } from './process.js'

const running = new Set()

/**
 * Starts a command in a process group of its own and passes its output to `onOutput`. Resolves with its exit code and
 * its output. Every command that still runs when this script ends is killed.
 */
export function start(command, args, { onOutput = (text) => process.stdout.write(text), env = {} } = {}) {
  const child = spawn(command, args, {
    cwd: root,
    detached: true,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
      onOutput(text)
    })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    // A process that outlives the command may have inherited its output. It is not awaited.
    child.on('exit', () => {
      const close = () => [child.stdout, child.stderr].forEach((stream) => stream.destroy())
      setTimeout(close, 5000).unref()
    })
    child.on('close', (status, signal) => {
      running.delete(child)
      resolve({ status, signal, output })
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
    // vitest and cargo end their own child processes when they receive SIGTERM.
    killAll('SIGTERM')
    setTimeout(() => process.exit(code), running.size > 0 ? 1000 : 0)
  })
