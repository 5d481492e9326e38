/**
 * Loaded into a process of startProcess() before its own program: a process whose host is gone, killed perhaps, ends with
 * all it started, also when it never came to call serveRequests().
 */

// What it starts itself inherits the variable otherwise, and is not what this is for.
const others = process.env.NODE_OPTIONS?.replace(`--import=${import.meta.url}`, '').trim()
if (others) process.env.NODE_OPTIONS = others
else delete process.env.NODE_OPTIONS

process.once('disconnect', () => {
  // Its own exit handlers come first, and then the group that it leads.
  process.on('exit', () => process.kill(-process.pid, 'SIGKILL'))
  process.exit(0)
})
