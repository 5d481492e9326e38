/**
 * Loaded into a process of startProcess() before its own program: a process whose host has ended, killed perhaps, ends
 * with its exit handlers and with all it started, also when it never came to call serveRequests(). The keeper of its host
 * ends what does not end by itself.
 */

import { WORKER_MARK } from '../keeper/facts.js'
import { toRemote } from './remote-error.js'

// What it starts itself inherits the variable otherwise, and is not what this is for.
const others = process.env.NODE_OPTIONS?.replace(`--import=${import.meta.url}`, '').trim()
if (others) process.env.NODE_OPTIONS = others
else delete process.env.NODE_OPTIONS

// The host was killed before this process could see it. Its program may never let the event loop turn.
const host = process.env[WORKER_MARK]?.split(':')[0]
if (host !== undefined && Number(host) !== process.ppid) process.kill(-process.pid, 'SIGKILL')

// Node prints the error and ends the process. The host gets it too: its caller needs the file and the line.
process.on('uncaughtExceptionMonitor', (error) => {
  try {
    if (process.connected)
      process.send?.({ warmswap: 'uncaught', error: toRemote(error) }, undefined, undefined, () => {})
  } catch {
    // A value that cannot be read must not hide the error that Node reports.
  }
})

process.once('disconnect', () => {
  // Its own exit handlers come first, and then the group that it leads.
  process.on('exit', () => process.kill(-process.pid, 'SIGKILL'))
  process.exit(0)
})
