// A worker of bench/caches.js: an S3 server with one object. It responds late and limits the speed of each connection,
// like a remote S3.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'

const { file, latencyMs, bytesPerSecond } = workerData
const object = readFileSync(file)
const TICK_MS = 10

async function paced(response, bytes) {
  const started = performance.now()
  for (let sent = 0; sent < bytes.length && !response.destroyed; ) {
    const due = Math.min(bytes.length, Math.ceil(((performance.now() - started + TICK_MS) / 1000) * bytesPerSecond))
    response.write(bytes.subarray(sent, due))
    sent = due
    await sleep(TICK_MS)
  }
  response.end()
}

const server = createServer({ noDelay: true }, async (request, response) => {
  await sleep(latencyMs)
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  const bytes = from === undefined ? object : object.subarray(Number(from), Number(to) + 1)
  const range = from === undefined ? {} : { 'content-range': `bytes ${from}-${to}/${object.length}` }
  response.writeHead(from === undefined ? 200 : 206, {
    etag: '"1"',
    'last-modified': new Date(0).toUTCString(),
    'content-length': bytes.length,
    ...range,
  })
  if (request.method === 'HEAD') response.end()
  else await paced(response, bytes)
})
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
