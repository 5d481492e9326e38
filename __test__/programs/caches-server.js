// Shared by the programs that check caches against a server whose answers they change.
import { createServer } from 'node:http'

/**
 * A small S3 server: objects in memory, with a list of requests in order. `change` may alter a response, which is held
 * back while the promise that it returns is pending.
 */
export async function serve(change = () => {}) {
  const objects = new Map()
  const asked = []
  const server = createServer(async (request, response) => {
    const pieces = []
    for await (const piece of request) pieces.push(piece)
    const path = new URL(request.url, 'http://x').pathname
    asked.push(`${request.method} ${path}`)
    if (request.method === 'PUT') {
      await change({ path, method: 'PUT' }, objects)
      if (request.headers['if-none-match'] && objects.has(path)) return response.writeHead(412).end()
      if (request.headers['if-match'] && objects.get(path)?.etag !== request.headers['if-match'])
        return response.writeHead(412).end()
      const etag = `"${asked.length}"`
      objects.set(path, { bytes: Buffer.concat(pieces), etag })
      return response.writeHead(200, { etag }).end()
    }
    if (request.method === 'DELETE') return objects.delete(path) && response.writeHead(204).end()
    const object = objects.get(path)
    if (object === undefined) return response.writeHead(404).end()
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const answer = { from, to, path, headers: request.headers, object }
    await change(answer, objects)
    if (request.headers['if-match'] && objects.get(path).etag !== request.headers['if-match'])
      return response.writeHead(412).end()
    const bytes = from === undefined ? object.bytes : object.bytes.subarray(Number(answer.from), Number(answer.to) + 1)
    const range =
      from === undefined ? {} : { 'content-range': `bytes ${answer.from}-${answer.to}/${object.bytes.length}` }
    response.writeHead(from === undefined ? 200 : 206, {
      etag: objects.get(path).etag,
      'last-modified': new Date(0).toUTCString(),
      'content-length': bytes.length,
      ...range,
    })
    response.end(request.method === 'HEAD' ? undefined : bytes)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const store = {
    scheme: 's3',
    bucket: 'bucket',
    region: 'us-east-1',
    endpoint: `http://127.0.0.1:${server.address().port}`,
    accessKeyId: 'AKIA',
    secretAccessKey: 'secret',
  }
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { store, asked, stop }
}
