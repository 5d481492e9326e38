// A model of the framework in the public report (redwoodjs/sdk), on Node's runner. The environment `worker` serves
// requests, the environment `ssr` renders pages, and a bridge passes modules from `ssr` to `worker`.
const BRIDGE = 'virtual:ssr-bridge'

export function framework() {
  let server
  return {
    name: 'example:framework',
    config: () => {
      // All modules go through Vite, as on a platform without node_modules at run time.
      const environment = { resolve: { noExternal: true }, optimizeDeps: { noDiscovery: false, include: ['ui-kit'] } }
      return { appType: 'custom', environments: { ssr: environment, worker: environment } }
    },
    resolveId(id) {
      if (id === BRIDGE && this.environment.name === 'worker') return `\0${BRIDGE}`
    },
    load(id) {
      // The worker evaluates this once and keeps it: without a link it does not notice that `ssr` was reloaded.
      if (id === `\0${BRIDGE}`) return `export const { routes, kit } = await globalThis.exampleBridge('/src/ssr.js')`
    },
    configureServer(started) {
      server = started
      globalThis.exampleBridge = (url) => server.environments.ssr.runner.import(url)
      return () => {
        server.middlewares.use(async (request, response, next) => {
          try {
            const { serve } = await server.environments.worker.runner.import('/src/worker.js')
            const answer = await serve(request)
            response.setHeader('content-type', 'application/json')
            response.end(JSON.stringify(answer))
          } catch (error) {
            next(error)
          }
        })
      }
    },
  }
}
