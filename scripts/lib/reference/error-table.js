// The table of docs/reference/errors.md: code, meaning and retryability from src/core/error.rs, the rest from here.

/** The calls that throw a code, and what you can do. */
const notes = {
  ERR_INVALID_ARGUMENT: ['every call', 'Correct the argument that the message names'],
  ERR_UNSUPPORTED: [
    '`openBundles`, `acquireLock`, each call that needs the addon',
    'Follow the way out in the message. `warmswap doctor` checks a directory and the addon',
  ],
  ERR_IO: [
    'every call that touches files',
    "Read `syscall`, `path` and `cause.errno`. `syscall: 'clone'` is a thread that was refused; the message names the limit. A call on a cache that throws has an `outcome` instead, such as 'target-not-empty'",
  ],
  ERR_ABORTED: ['calls with `signal`', 'None: the caller cancelled, and the signal has no reason of its own'],
  ERR_TIMEOUT: [
    'calls with `timeoutMs`; `publish` and `publishFenced` of locks',
    'Raise `timeoutMs`, or end `holder` if the error has one. Otherwise a filesystem did not answer',
  ],
  ERR_NO_GENERATION: ['`pin`, `verify`', 'Publish first, or use `ensure()`'],
  ERR_GENERATION_GONE: ['`pin`, `Generation`', 'Pin before you read. Raise `keep` or `graceMs`'],
  ERR_GENERATION_CORRUPT: ['`pin`, `ensure`', 'Publish again. Do not change files inside the store'],
  ERR_EMPTY_STAGE: ['`publish`', 'Write at least one file'],
  ERR_MISSING_ENTRY: ['`publish`', 'Write the file, or correct `require`. The message lists what the stage contains'],
  ERR_STAGE_CLOSED: ['`Stage`', 'Call `store.stage()` again'],
  ERR_FENCED: ['`publish`, `publishFenced`', 'Discard the result: a newer one exists'],
  ERR_LOCK_TIMEOUT: [
    '`acquireLock`, `withLock`, `waitForLock`, `prewarm`',
    'Raise `timeoutMs`, or run `npx warmswap lock why <path>`',
  ],
  ERR_LOCK_LOST: ['`Lock`', 'Stop the work, and acquire the lock again'],
  ERR_FORMAT: ['`openBundles`, locks, caches', 'Update warmswap: a later version wrote the files'],
  ERR_CLOSED: [
    'stores, locks, caches, cells, coordinators',
    'Open it again. A store is also closed if its folder was removed, moved or replaced',
  ],
  ERR_NOT_READY: [
    '`prewarm`, workers',
    'Make `isReady()` return a value after `run()`, or call `serveRequests()` in time',
  ],
  ERR_REENTRANT: ['`defineState`, coordinators', 'Do not call it from its own initialiser or callback'],
  ERR_TOO_LARGE: ['cells, records', 'Store less, or raise `maxBytes`'],
  ERR_WORKER_EXITED: ['coordinators', 'Read `cause`. Send the request again if it is idempotent'],
  ERR_QUEUE_FULL: ['coordinators', 'Wait, or raise `queueLimit`'],
  ERR_UNTRUSTED: [
    'bundles, locks, caches',
    'Use a directory that only your users can write to ([threat model](../threat-model.md))',
  ],
  ERR_UNSTABLE: ['`Stage.adopt`', 'Call again when the tool has finished'],
}

/** The table of codes from the text of src/core/error.rs. */
export function errorTable(source) {
  const codes = [...source.matchAll(/((?: {4}\/\/\/ .*\n)+) {4}\w+ = "(ERR_\w+)", retryable: (true|false);/g)]
  if (codes.length !== Object.keys(notes).length)
    throw new Error(
      `scripts/lib/reference/error-table.js has ${Object.keys(notes).length} codes, src/core/error.rs has ${codes.length}`,
    )
  const rows = codes.map(([, comment, code, retryable]) => {
    const meaning = comment
      .replace(/^ {4}\/\/\/ ?/gm, '')
      .replace(/\s+/g, ' ')
      .trim()
    const [thrownBy, action] = notes[code] ?? []
    if (action === undefined) throw new Error(`scripts/lib/reference/error-table.js has no entry for ${code}`)
    return `| \`${code}\` | ${meaning} | ${retryable === 'true' ? 'yes' : 'no'} | ${thrownBy} | ${action} |`
  })
  return ['| Code | Meaning | Retryable | Thrown by | What to do |', '| --- | --- | --- | --- | --- |', ...rows].join(
    '\n',
  )
}
