/**
 * An S3 server with objects in memory that can fail in each known way, one fault at a time. Signatures are not checked.
 * Conditions, ranges and multipart are correct unless a fault changes them.
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { ACCESS_KEY_ID, type S3Location, SECRET_ACCESS_KEY } from './s3.js'

/** The fault of the requests that `when` matches. */
export interface Fault {
  when(request: {
    method: string
    path: string
    query: URLSearchParams
    range: string | undefined
    count: number
  }): boolean
  what:
    | 'stall-after-accept'
    | 'stall-after-headers'
    | 'stall-mid-body'
    | 'trickle'
    | 'reset'
    | 'reset-mid-body'
    | 'ignore-range'
    | 'wrong-content-range'
    | 'short-range'
    | 'short-body'
    | 'slow-down'
    | 'redirect'
    | 'conflict'
    | 'precondition'
    | 'denied'
    | 'swap-object'
    | 'lose-answer'
    // The request arrives twice, and the answer to the second one comes back.
    | 'double'
    | 'garbage'
  /** After how many bytes of the body, for faults in its middle. Half of it if absent. */
  at?: number
  /** How many times. Unlimited if absent. */
  times?: number
}

interface StoredObject {
  bytes: Buffer
  etag: string
  modified: Date
}

export interface FaultServer {
  readonly endpoint: string
  readonly objects: Map<string, StoredObject>
  readonly requests: {
    method: string
    path: string
    query: URLSearchParams
    range: string | undefined
    ifMatch: string | undefined
    headers: Record<string, unknown>
  }[]
  /** The current fault, if any. */
  fault: Fault | undefined
  /**
   * Called with each request before the server handles it. Returns true if it has responded itself. It may change the
   * response.
   */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  /** Milliseconds before each response, and bytes per second of each connection: a remote store. */
  latencyMs: number
  bytesPerSecond: number
  store(prefix?: string): S3Location
  stop(): Promise<void>
}

export async function startFaultServer(): Promise<FaultServer> {
  const objects = new Map<string, StoredObject>()
  const uploads = new Map<string, Map<number, Buffer>>()
  let versions = 0
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    void handle(request, response).catch(() => request.socket.destroy())
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const self: FaultServer = {
    endpoint,
    objects,
    requests: [],
    fault: undefined,
    intercept: undefined,
    latencyMs: 0,
    bytesPerSecond: 0,
    store: (prefix = '') => ({
      scheme: 's3',
      bucket: 'bucket',
      prefix,
      endpoint,
      region: 'us-east-1',
      accessKeyId: ACCESS_KEY_ID,
      secretAccessKey: SECRET_ACCESS_KEY,
    }),
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }

  function strikes(
    method: string,
    path: string,
    query: URLSearchParams,
    range: string | undefined,
  ): Fault['what'] | undefined {
    const { fault } = self
    if (
      fault === undefined ||
      fault.times === 0 ||
      !fault.when({ method, path, query, range, count: self.requests.length })
    )
      return undefined
    if (fault.times !== undefined) fault.times -= 1
    return fault.what
  }

  function put(path: string, bytes: Buffer): StoredObject {
    const object = { bytes, etag: `"${(++versions).toString(16)}"`, modified: new Date() }
    objects.set(path, object)
    return object
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', endpoint)
    const path = decodeURIComponent(url.pathname).replace(/^\/bucket\/?/, '')
    const method = request.method ?? 'GET'
    const range = request.headers.range
    const what = strikes(method, path, url.searchParams, range)
    self.requests.push({
      method,
      path,
      query: url.searchParams,
      range,
      ifMatch: request.headers['if-match'],
      headers: request.headers,
    })
    if (self.intercept?.(request, response) === true) return
    if (what === 'stall-after-accept') return
    if (what === 'reset') return void request.socket.resetAndDestroy()
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const body = Buffer.concat(pieces)
    if (self.latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, self.latencyMs))
    switch (what) {
      case 'slow-down':
        return fail(response, 503, 'SlowDown')
      case 'conflict':
        return fail(response, 409, 'ConditionalRequestConflict')
      case 'precondition':
        return fail(response, 412, 'PreconditionFailed')
      case 'denied':
        return fail(response, 403, 'AccessDenied')
      case 'redirect':
        response.writeHead(307, { location: `${endpoint}${request.url}` }).end()
        return
      case 'swap-object': {
        const object = objects.get(path)
        if (object !== undefined)
          put(path, Buffer.concat([Buffer.from([object.bytes[0]! ^ 1]), object.bytes.subarray(1)]))
        break
      }
      default:
    }
    if (method === 'GET' && url.searchParams.has('list-type')) return list(url.searchParams, response)
    if (method === 'GET' || method === 'HEAD') return get(path, request, response, method, range, what)
    if (method === 'PUT' && url.searchParams.has('partNumber')) {
      uploads.get(url.searchParams.get('uploadId')!)?.set(Number(url.searchParams.get('partNumber')), body)
      response.writeHead(200, { etag: `"${createHash('md5').update(body).digest('hex')}"` }).end()
      return
    }
    if (method === 'PUT') return write(path, request, response, body, what)
    if (method === 'POST' && url.searchParams.has('uploads')) {
      const id = String(uploads.size + 1)
      uploads.set(id, new Map())
      response
        .writeHead(200, { 'content-type': 'application/xml' })
        .end(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`)
      return
    }
    if (method === 'POST' && url.searchParams.has('uploadId')) {
      const parts = uploads.get(url.searchParams.get('uploadId')!) ?? new Map<number, Buffer>()
      return write(
        path,
        request,
        response,
        Buffer.concat([...parts].sort(([one], [other]) => one - other).map(([, bytes]) => bytes)),
        what,
        true,
      )
    }
    if (method === 'POST' && url.searchParams.has('delete')) {
      for (const [, key] of body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)) objects.delete(key!)
      response.writeHead(200, { 'content-type': 'application/xml' }).end('<DeleteResult/>')
      return
    }
    if (method === 'DELETE') {
      if (url.searchParams.has('uploadId')) uploads.delete(url.searchParams.get('uploadId')!)
      else objects.delete(path)
      response.writeHead(204).end()
      return
    }
    fail(response, 501, 'NotImplemented')
  }

  function fail(response: ServerResponse, status: number, code: string): void {
    response
      .writeHead(status, { 'content-type': 'application/xml' })
      .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`)
  }

  function list(query: URLSearchParams, response: ServerResponse): void {
    const found = [...objects].filter(([path]) => path.startsWith(query.get('prefix') ?? ''))
    const contents = found.map(
      ([path, { bytes, etag, modified }]) =>
        `<Contents><Key>${path}</Key><LastModified>${modified.toISOString()}</LastModified><ETag>${etag.replaceAll('"', '&quot;')}</ETag><Size>${bytes.length}</Size></Contents>`,
    )
    response
      .writeHead(200, { 'content-type': 'application/xml' })
      .end(`<ListBucketResult><IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`)
  }

  function write(
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer,
    what: Fault['what'] | undefined,
    multipart = false,
  ): void {
    const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers
    const holds = (object = objects.get(path)): boolean =>
      ifMatch === undefined ? ifNoneMatch !== '*' || object === undefined : object?.etag === ifMatch
    if (what === 'double' && holds()) put(path, body)
    const current = objects.get(path)
    if (ifMatch !== undefined && current === undefined) return void fail(response, 404, 'NoSuchKey')
    if (!holds(current)) return void fail(response, 412, 'PreconditionFailed')
    const { etag } = put(path, body)
    if (what === 'lose-answer') return void request.socket.destroy()
    if (multipart)
      response
        .writeHead(200, { 'content-type': 'application/xml' })
        .end(
          `<CompleteMultipartUploadResult><ETag>${etag.replaceAll('"', '&quot;')}</ETag></CompleteMultipartUploadResult>`,
        )
    else response.writeHead(200, { etag }).end()
  }

  async function get(
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
    method: string,
    range: string | undefined,
    what: Fault['what'] | undefined,
  ): Promise<void> {
    const object = objects.get(path)
    if (object === undefined) return fail(response, 404, 'NoSuchKey')
    if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== object.etag)
      return fail(response, 412, 'PreconditionFailed')
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
    let bytes =
      from === undefined || what === 'ignore-range' ? object.bytes : object.bytes.subarray(Number(from), Number(to) + 1)
    const headers: Record<string, string | number> = {
      etag: object.etag,
      'last-modified': object.modified.toUTCString(),
    }
    let status = 200
    if (from !== undefined && what !== 'ignore-range') {
      status = 206
      const shift = what === 'wrong-content-range' ? 1 : 0
      headers['content-range'] = `bytes ${Number(from) + shift}-${Number(to) + shift}/${object.bytes.length}`
    }
    if (what === 'short-range') bytes = bytes.subarray(0, Math.max(0, bytes.length - 1))
    if (what === 'garbage') bytes = Buffer.alloc(bytes.length, 'garbage')
    response.writeHead(status, { ...headers, 'content-length': bytes.length })
    if (method === 'HEAD') return void response.end()
    response.flushHeaders()
    const some = bytes.subarray(0, self.fault?.at ?? bytes.length >> 1)
    switch (what) {
      case 'stall-after-headers':
        return
      case 'stall-mid-body':
        response.write(some)
        return
      case 'reset-mid-body':
        response.write(some, () => request.socket.resetAndDestroy())
        return
      case 'short-body':
        response.write(some, () => request.socket.end())
        return
      case 'trickle': {
        let at = 0
        const timer = setInterval(() => {
          if (at >= bytes.length || response.destroyed) return clearInterval(timer)
          response.write(bytes.subarray(at, ++at))
        }, 1000)
        return
      }
      default:
    }
    if (self.bytesPerSecond === 0) return void response.end(bytes)
    const piece = Math.ceil(self.bytesPerSecond / 50)
    for (let at = 0; at < bytes.length && !response.destroyed; at += piece) {
      response.write(bytes.subarray(at, at + piece))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    response.end()
  }

  return self
}
