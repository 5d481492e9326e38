// The dev server: HTTP in front of a way, and a file watcher that triggers its rebuilds.
//   node server.js --way warmswap|careful|today --app <directory> --snapshot <archive> [--port 0]
// Prints one JSON line per event on standard output.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import chokidar from 'chokidar'
import { editsOf } from './edits.js'

const { values } = parseArgs({
  options: {
    way: { type: 'string' },
    app: { type: 'string' },
    snapshot: { type: 'string' },
    port: { type: 'string', default: '0' },
  },
})
/** The last rebuild, for the page: whether it runs, its error, or the time from the edit until the swap. */
const rebuilt = { began: performance.now(), building: false, lastError: null, swapMs: null, failedBuilds: 0 }
function log(event) {
  if (event.event === 'published') rebuilt.swapMs = performance.now() - rebuilt.began
  process.stdout.write(`${JSON.stringify(event)}\n`)
}
const { createWay } = await import(`./ways/${values.way}.js`)
const way = await createWay({ app: values.app, snapshot: values.snapshot, log })

await way.start()
async function rebuild() {
  Object.assign(rebuilt, { began: performance.now(), building: true })
  try {
    await way.change()
    rebuilt.lastError = null
  } catch (error) {
    log({ event: 'build-failed', message: error.message.split('\n')[0] })
    Object.assign(rebuilt, { lastError: error.message, failedBuilds: rebuilt.failedBuilds + 1 })
  } finally {
    rebuilt.building = false
  }
}
const edits = editsOf(values.app)
/** The buttons of the page. */
const actions = { '/__edit': edits.edit, '/__break': edits.breakBuild, '/__fix': edits.fixBuild }
const watcher = chokidar
  .watch(join(values.app, 'src'), { ignoreInitial: true, ignored: (path) => path.endsWith('.saving') })
  .on('all', rebuild)
await new Promise((resolve) => watcher.on('ready', resolve))

const json = (response, status, value) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  try {
    if (pathname === '/')
      return response
        .setHeader('content-type', 'text/html')
        .end(await readFile(new URL('./page.html', import.meta.url)))
    if (pathname === '/__status') return json(response, 200, { ...(await way.status()), ...rebuilt, pid: process.pid })
    if (request.method === 'POST' && actions[pathname])
      return json(response, 200, { done: (await actions[pathname]()) ?? true })
    if (pathname === '/__reboot') {
      const observed = searchParams.get('observed')
      return json(response, 200, {
        rebooted: (await way.reboot(observed === null ? undefined : Number(observed))) ?? true,
      })
    }
    if (way.answer) return way.answer(request, response)
    json(response, 200, { pid: process.pid, ...(await way.ask(pathname)) })
  } catch (error) {
    json(response, error.code === 'NO_ROUTE' ? 404 : 500, { code: error.code, message: error.message })
  }
})
server.listen(Number(values.port), '127.0.0.1', () =>
  log({ event: 'ready', port: server.address().port, pid: process.pid }),
)

async function stop() {
  server.closeAllConnections()
  server.close()
  await watcher.close()
  await way.close()
  process.exit(0)
}
process.on('SIGTERM', stop).on('SIGINT', stop)
