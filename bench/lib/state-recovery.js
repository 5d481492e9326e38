// Time from the optimizer's commit until GETs are answered that met a stale dependency. Uses the fixture of the tests
// with Vite's own in-process runner.
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import warmswap, { onReoptimize } from '../../dist/vite.js'
import { root as repository } from '../../scripts/lib/process.js'

const fixtures = join(repository, '__test__/state/fixtures')

function copyFixture() {
  const root = mkdtempSync(join(tmpdir(), 'warmswap-bench-'))
  cpSync(join(fixtures, 'app'), root, { recursive: true })
  cpSync(join(fixtures, 'packages'), join(root, 'node_modules'), { recursive: true })
  cpSync(join(root, 'src/context-kept.js'), join(root, 'src/context.js'))
  symlinkSync(repository, join(root, 'node_modules/warmswap'))
  return root
}

const application = {
  name: 'bench:application',
  configureServer: (server) => () => {
    server.middlewares.use(async (request, response, next) => {
      try {
        const { handle } = await server.environments.ssr.runner.import('/src/entry.js')
        response.end(JSON.stringify(await handle(request.url.slice(1))))
      } catch (error) {
        next(error)
      }
    })
  },
}

/**
 * Milliseconds in which Vite alone loads the application from an empty module graph. Every answer after a reload needs
 * that time, with and without warmswap.
 */
async function reloaded({ environments: { ssr } }) {
  ssr.moduleGraph.invalidateAll()
  ssr.runner.clearCache()
  const began = performance.now()
  const { handle } = await ssr.runner.import('/src/entry.js')
  await handle('route-b')
  return performance.now() - began
}

/** Milliseconds from the commit to the last of the complete answers, and those of a reload alone. */
async function recoveredRequests({ vite, parallel, rescue }) {
  const { createServer } = await import(vite)
  const root = copyFixture()
  const events = []
  const server = await createServer({
    root,
    configFile: false,
    appType: 'custom',
    logLevel: 'silent',
    server: { middlewareMode: true, ws: false, watch: null },
    environments: { ssr: { resolve: { noExternal: true }, optimizeDeps: { noDiscovery: false, include: ['dep-a'] } } },
    plugins: [warmswap({ recovery: { rescue, onEvent: ({ outcome }) => events.push(outcome) } }), application],
  })
  const http = createHttpServer(server.middlewares)
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${http.address().port}`
  await (await fetch(`${url}/route-a`)).json()
  let committed
  const subscription = onReoptimize(server, () => (committed = performance.now()))
  const answers = await Promise.all(
    Array.from({ length: parallel }, async () => (await fetch(`${url}/route-b`)).json()),
  )
  const took = performance.now() - committed
  const floor = await reloaded(server)
  subscription[Symbol.dispose]()
  http.closeAllConnections()
  http.close()
  await server.close()
  rmSync(root, { recursive: true, force: true })
  // Vite 6 reports nothing: nothing has to be recovered there, and the registry keeps the context.
  if (answers.some(({ store }) => store?.user !== 'ada') || (vite !== 'vite6' && !events.includes('recovered')))
    throw new Error(`requests were not recovered: ${events.join(', ')}`)
  return { took, floor }
}

/**
 * Measures with this package as Vite (an alias of package.json) and this many concurrent GETs: with and without the
 * in-flight rescue, in turn.
 */
export async function recoveries({ vite, parallel }, rounds = 12) {
  const times = { rescued: [], without: [], floors: [] }
  for (let round = 0; round < rounds; round += 1) {
    const rescued = await recoveredRequests({ vite, parallel })
    const without = await recoveredRequests({ vite, parallel, rescue: false })
    if (round < 2) continue
    times.rescued.push(rescued.took)
    times.without.push(without.took)
    times.floors.push(rescued.floor, without.floor)
  }
  return times
}
