// Clients that send requests all the time, and the outcome of each request.
import { Agent, request } from 'node:http'

const PATHS = ['/calendar', '/orders', '/page', '/prices']
const MISSING = /ERR_MODULE_NOT_FOUND|ENOENT|Cannot find|pathToFileURL/
const TORN = /SyntaxError|Unexpected end|is not a function|does not provide an export/

function get(agent, port, path) {
  return new Promise((resolve, reject) => {
    const call = request({ agent, port, path, host: '127.0.0.1', timeout: 10_000 }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => (text += part))
      response.on('end', () => resolve({ status: response.statusCode, answer: JSON.parse(text) }))
    })
    call.on('timeout', () => call.destroy(Object.assign(new Error('no answer in 10 s'), { code: 'HANG' })))
    call.on('error', reject).end()
  })
}

/** Sends requests to `server` from several clients until stopped. */
export function startLoad(server, port, clients = 6) {
  const counts = { answered: 0, failed: 0, missing: 0, torn: 0, stale: 0, generations: new Set(), examples: new Set() }
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  let running = true

  async function ask(path) {
    const promised = server.published
    try {
      const { status, answer } = await get(agent, port, path)
      if (status !== 200) return fail(`${answer.code ?? ''} ${answer.message ?? ''}`.trim())
      if (answer.entry !== answer.chunk) counts.torn += 1
      if (answer.entry < promised) counts.stale += 1
      counts.answered += 1
      counts.generations.add(answer.generation ?? answer.entry)
    } catch (error) {
      if (running) fail(`${error.code ?? ''} ${error.message}`)
    }
  }

  function fail(text) {
    counts.failed += 1
    if (MISSING.test(text)) counts.missing += 1
    if (TORN.test(text)) counts.torn += 1
    if (counts.examples.size < 4) counts.examples.add(text.split('\n')[0].slice(0, 110))
  }

  async function client(number) {
    for (let turn = number; running; turn += 1) {
      await ask(PATHS[turn % PATHS.length])
      // A pause between two requests, as in a browser: the load must detect problems, not starve the builds.
      await new Promise((resolve) => setTimeout(resolve, 4))
    }
  }

  const all = Array.from({ length: clients }, (_, number) => client(number))
  return {
    counts,
    async stop() {
      running = false
      await Promise.all(all)
      agent.destroy()
    },
  }
}
