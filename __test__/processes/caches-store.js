// Checks of caches in a process of their own, with faults or mutants of the testing addon: prints one word.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { openCache } from 'warmswap'

const [check, ...args] = process.argv.slice(2)
const parse = (store) => (store.startsWith('{') ? JSON.parse(store) : store)

/** An S3 server of a few lines: objects in memory, what was asked in order. */
async function serve(change = () => {}) {
  const objects = new Map()
  const asked = []
  const server = createServer(async (request, response) => {
    const pieces = []
    for await (const piece of request) pieces.push(piece)
    const path = new URL(request.url, 'http://x').pathname
    asked.push(`${request.method} ${path}`)
    if (request.method === 'PUT') {
      if (request.headers['if-none-match'] && objects.has(path)) return response.writeHead(412).end()
      if (request.headers['if-match'] && objects.get(path)?.etag !== request.headers['if-match']) return response.writeHead(412).end()
      const etag = `"${asked.length}"`
      objects.set(path, { bytes: Buffer.concat(pieces), etag })
      return response.writeHead(200, { etag }).end()
    }
    if (request.method === 'DELETE') return objects.delete(path) && response.writeHead(204).end()
    const object = objects.get(path)
    if (object === undefined) return response.writeHead(404).end()
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const answer = { from, to, path, headers: request.headers, object }
    change(answer, objects)
    if (request.headers['if-match'] && objects.get(path).etag !== request.headers['if-match']) return response.writeHead(412).end()
    const bytes = from === undefined ? object.bytes : object.bytes.subarray(Number(answer.from), Number(answer.to) + 1)
    const range = from === undefined ? {} : { 'content-range': `bytes ${answer.from}-${answer.to}/${object.bytes.length}` }
    response.writeHead(from === undefined ? 200 : 206, { etag: objects.get(path).etag, 'last-modified': new Date(0).toUTCString(), 'content-length': bytes.length, ...range })
    response.end(request.method === 'HEAD' ? undefined : bytes)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const store = { scheme: 's3', bucket: 'bucket', region: 'us-east-1', endpoint: `http://127.0.0.1:${server.address().port}`, accessKeyId: 'AKIA', secretAccessKey: 'secret' }
  return { store, asked, stop: () => (server.closeAllConnections(), server.close()) }
}

const checks = {
  async snapshot(store, from) {
    const cache = openCache(parse(store))
    if (process.env.WARMSWAP_FAULT) createRequire(import.meta.url)('../../dist/binding.cjs').armFaults()
    console.log((await cache.snapshot({ key: 'site', from })).outcome)
  },
  async detached(store, from) {
    void openCache(parse(store)).snapshot({ key: 'site', from, keepProcessAlive: false })
    await new Promise((resolve) => setTimeout(resolve, 300))
    console.log('main ends')
  },
  async shrink(full, half) {
    const cache = openCache('memory:')
    await cache.snapshot({ key: 'site', from: full })
    console.log((await cache.snapshot({ key: 'site', from: half })).outcome)
  },
  async swap(tree) {
    let isPublished = false
    const { store, stop } = await serve(({ path, object }, objects) => {
      if (isPublished && path.includes('/blobs/')) objects.set(path, { bytes: object.bytes, etag: '"another"' })
    })
    const cache = openCache(store)
    await cache.snapshot({ key: 'site', from: tree })
    isPublished = true
    console.log((await cache.restore({ key: 'site', into: `${tree}-into` })).outcome)
    stop()
  },
  async 'other-range'(tree) {
    let isPublished = false
    const { store, stop } = await serve((answer) => {
      if (isPublished && answer.from !== undefined) answer.to = String(Number(answer.to) - 1)
    })
    const cache = openCache(store)
    await cache.snapshot({ key: 'site', from: tree })
    isPublished = true
    const { outcome, reason } = await cache.restore({ key: 'site', into: `${tree}-into` })
    console.log(outcome, reason.includes('asked for \'bytes') ? 'range' : 'elsewhere')
    stop()
  },
  async order(tree) {
    const { store, asked, stop } = await serve()
    await openCache(store).snapshot({ key: 'site', from: tree })
    const puts = asked.filter((line) => line.startsWith('PUT') && line.includes('/site/'))
    console.log(puts.map((line) => (line.includes('/blobs/') ? 'blob' : 'pointer')).join(' '))
    stop()
  },
}

await checks[check](...args)
