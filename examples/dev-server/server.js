// The dev server: HTTP in front of a way, a watcher behind it.
//   node server.js --way warmswap|today --app <directory> --snapshot <archive> [--port 0]
// Prints one JSON line per event on standard output.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import chokidar from 'chokidar'

const { values } = parseArgs({
  options: {
    way: { type: 'string' },
    app: { type: 'string' },
    snapshot: { type: 'string' },
    port: { type: 'string', default: '0' },
  },
})
const log = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)
const { createWay } = await import(`./ways/${values.way}.js`)
const way = await createWay({ app: values.app, snapshot: values.snapshot, log })

await way.start()
const rebuild = () =>
  way.change().catch((error) => log({ event: 'build-failed', message: error.message.split('\n')[0] }))
const watcher = chokidar.watch(join(values.app, 'src'), { ignoreInitial: true }).on('all', rebuild)
await new Promise((resolve) => watcher.on('ready', resolve))

const json = (response, status, value) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost')
  try {
    if (pathname === '/')
      return response
        .setHeader('content-type', 'text/html')
        .end(await readFile(new URL('./page.html', import.meta.url)))
    if (pathname === '/__status') return json(response, 200, { ...(await way.status()), pid: process.pid })
    if (pathname === '/__reboot') return json(response, 200, { rebooted: (await way.reboot()) ?? true })
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
