// A worker process whose working directory is the bundle. Each `call` imports the handler there.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { runtime } from './project.js'

export async function startWorker(cwd) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', runtime], {
    cwd,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value ?? '{"error":"the worker ended"}')
  // A removed folder cannot be a working directory: then the process does not even start.
  const failed = new Promise((resolve) => child.on('error', (error) => resolve({ error: error.code })))
  const started = await Promise.race([next(), failed])
  return {
    async call() {
      if (started.error) return started
      child.stdin.write('call\n')
      return await next()
    },
    async stop() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null && child.pid)
        await new Promise((resolve) => child.once('close', resolve))
    },
  }
}
