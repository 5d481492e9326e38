// Starts main.mjs of the current generation as a thread and as a process, and prints what each start rejects with.
import { openBundles, startProcess, startWorkerThread } from '../../dist/index.js'

const store = await openBundles(process.argv[2])
for (const [kind, start] of [
  ['thread', startWorkerThread],
  ['process', startProcess],
]) {
  const pin = store.pin()
  const context = { pin, signal: new AbortController().signal }
  const error = await start(context, 'main.mjs').then(
    () => new Error('it was to fail'),
    (error) => error,
  )
  console.log(JSON.stringify({ kind, message: error.message, stack: error.cause?.stack ?? '' }))
  pin.release()
}
store.close?.()
