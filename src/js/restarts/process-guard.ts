/**
 * Loaded into a process of startProcess() before its own program. When the host has ended, even by SIGKILL, the process
 * ends with its exit handlers and with all processes that it started, even if it never called serveRequests(). The
 * keeper of its host ends processes that do not end by themselves.
 */

import { WORKER_MARK } from '../keeper/facts.js'
import { toRemote } from './remote-error.js'

// Its own child processes would inherit the variable otherwise, and the guard is not for them.
const others = process.env.NODE_OPTIONS?.replace(`--import=${import.meta.url}`, '').trim()
if (others) process.env.NODE_OPTIONS = others
else delete process.env.NODE_OPTIONS

// The host was killed before this process noticed. Its program may never yield to the event loop.
const host = process.env[WORKER_MARK]?.split(':')[0]
if (host !== undefined && Number(host) !== process.ppid) process.kill(-process.pid, 'SIGKILL')

// Node prints the error and ends the process. The host receives it too: its caller needs the file and the line.
process.on('uncaughtExceptionMonitor', (error) => {
  try {
    if (process.connected)
      process.send?.({ warmswap: 'uncaught', error: toRemote(error) }, undefined, undefined, () => {})
  } catch {
    // A value that cannot be read must not hide the error that Node reports.
  }
})

process.once('disconnect', () => {
  // Its own exit handlers run first, and then the group that it leads is killed.
  process.on('exit', () => process.kill(-process.pid, 'SIGKILL'))
  process.exit(0)
})
