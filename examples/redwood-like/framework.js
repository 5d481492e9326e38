// The shape of the framework in the public report (redwoodjs/sdk), on Node's runner: requests are served by the
// environment `worker`, pages are rendered in the environment `ssr`, and a bridge hands modules of the one to the other.
const BRIDGE = 'virtual:ssr-bridge'

export function framework() {
  let server
  return {
    name: 'example:framework',
    config: () => {
      // Everything goes through Vite, as where there is no node_modules at run time.
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
