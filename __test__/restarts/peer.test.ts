/**
 * `attach()` next to @hono/node-server and srvx: the same handler gets the same requests, byte for byte, and the answers
 * are the same. The kinds of cases are those of test/listener, server, server-socket, request-client-disconnect and websocket of
 * github.com/honojs/node-server (3b1dd68) and of test/_tests, node-* of github.com/h3js/srvx (053be62), written for this file.
 * Disconnects, breaks, upgrades and `Expect` are in fetch.test.ts, bad-requests.test.ts and listen.test.ts. TLS, HTTP/2, the
 * replaced global classes and limits of body sizes are features of those packages.
 */

import { type RequestListener, STATUS_CODES } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { toNodeHandler } from 'srvx/node'
import { expect } from 'vitest'
import { publishFetchWorker, thread } from '../support/coordinators.js'
import { raw, test } from '../support/served.js'

const HANDLER = `
const { pathname, searchParams } = new URL(request.url)
if (pathname === '/mirror') {
  const headers = [...request.headers].filter(([name]) => name.startsWith('x-') && !name.startsWith('x-forwarded'))
  return Response.json({ url: request.url, method: request.method, headers, body: await request.text() })
}
if (pathname === '/status') return new Response(null, { status: Number(searchParams.get('code')), headers: { etag: '"1"', location: '/there' } })
if (pathname === '/cookies') return new Response('x', { headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2; Path=/']] })
if (pathname === '/binary') return new Response(new Uint8Array([0, 127, 128, 255]))
if (pathname === '/blob') return new Response(new Blob(['a blob'], { type: 'text/x-blob' }))
if (pathname === '/form') return Response.json(Object.fromEntries(await request.formData()))
if (pathname === '/length') return new Response('twelve bytes', { headers: { 'content-length': '12' } })
if (pathname === '/type') return new Response('{}', { headers: { 'content-type': 'application/problem+json', 'x-latin': '\\u00e9' } })
if (pathname === '/empty-stream') return new Response(new ReadableStream({ start: (controller) => controller.close() }))
if (pathname === '/unread') return new Response('did not read')
if (pathname === '/cancelled') { await request.body.cancel(); return new Response('cancelled') }
if (pathname === '/partly') { const { value } = await request.body.getReader().read(); return new Response('read ' + (value.byteLength > 0)) }
if (pathname === '/clone') return Response.json([await request.clone().text(), await request.text()])
if (pathname === '/null-body') return Response.json([request.body, await request.text()])
if (pathname === '/cookie') return new Response(request.headers.get('cookie'))
if (pathname === '/mutated') { const response = new Response('x'); response.headers.append('set-cookie', 'a=1'); response.headers.append('set-cookie', 'b=2'); return response.clone() }
if (pathname === '/buffer') return new Response(new Uint8Array([65, 66, 67]).buffer)
if (pathname === '/view') return new Response(new DataView(new Uint8Array([64, 65, 66, 67]).buffer, 1, 2))
if (pathname === '/empty') return new Response('')
if (pathname === '/large') return new Response('\\u00e9'.repeat(200_000))
if (pathname === '/chunked') return new Response('chunked', { headers: { 'transfer-encoding': 'chunked' } })
if (pathname === '/events') return new Response('data: 1\\n\\n', { headers: { 'content-type': 'text/event-stream' } })
if (pathname === '/crlf') return new Response('a\\r\\n\\r\\nb', { statusText: 'Caf\\u00e9' })
if (pathname === '/stream') {
  let count = 0
  return new Response(new ReadableStream({ async pull(controller) {
    if (count++ === 3) return controller.close()
    await new Promise((resolve) => setTimeout(resolve, 5))
    controller.enqueue(new TextEncoder().encode('part ' + count + ';'))
  } }))
}
return new Response('not here', { status: 404, statusText: 'Not Here' })`

const close = 'host: name.example\r\nconnection: close\r\n'
const body = (text: string, more = ''): string => `${more}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
const form = 'content-type: application/x-www-form-urlencoded\r\n'
const multipart =
  '--b\r\ncontent-disposition: form-data; name="a"\r\n\r\none\r\n--b\r\ncontent-disposition: form-data; name="c"\r\n\r\ntwo\r\n--b--\r\n'

/** Each request, as it is sent. */
const cases: Record<string, string> = {
  'a GET': `GET /mirror HTTP/1.1\r\n${close}\r\n`,
  'a query with escapes': `GET /mirror?a=%20b&c=%C3%A9&d HTTP/1.1\r\n${close}\r\n`,
  'a path with escapes': `GET /mirror/%2e%2e/%E2%82%AC HTTP/1.1\r\n${close}\r\n`,
  'dots in a path': `GET /a/../mirror HTTP/1.1\r\n${close}\r\n`,
  'two slashes': `GET //mirror HTTP/1.1\r\n${close}\r\n`,
  'a target that is a URL': `GET http://name.example/mirror?x=1 HTTP/1.1\r\n${close}\r\n`,
  'a host with a port': 'GET /mirror HTTP/1.1\r\nhost: name.example:8080\r\nconnection: close\r\n\r\n',
  'an IPv6 host': 'GET /mirror HTTP/1.1\r\nhost: [::1]:8080\r\nconnection: close\r\n\r\n',
  'HTTP/1.0': 'GET /mirror HTTP/1.0\r\nhost: name.example\r\n\r\n',
  'repeated headers': `GET /mirror HTTP/1.1\r\n${close}x-mine: 1\r\nX-Mine: 2\r\n\r\n`,
  'a POST': `POST /mirror HTTP/1.1\r\n${close}${body('some text')}`,
  'a POST in chunks': `POST /mirror HTTP/1.1\r\n${close}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`,
  'an empty POST': `POST /mirror HTTP/1.1\r\n${close}content-length: 0\r\n\r\n`,
  'a PUT in UTF-8': `PUT /mirror HTTP/1.1\r\n${close}${body('é€')}`,
  'a DELETE with a body': `DELETE /mirror HTTP/1.1\r\n${close}${body('x')}`,
  'an OPTIONS': `OPTIONS /mirror HTTP/1.1\r\n${close}\r\n`,
  'a PATCH': `PATCH /mirror HTTP/1.1\r\n${close}${body('x')}`,
  'a form': `POST /form HTTP/1.1\r\n${close}${body('a=1&b=%20', form)}`,
  'a multipart form': `POST /form HTTP/1.1\r\n${close}${body(multipart, 'content-type: multipart/form-data; boundary=b\r\n')}`,
  'a body that is not read': `POST /unread HTTP/1.1\r\n${close}${body('x'.repeat(1000))}`,
  'a HEAD': `HEAD /length HTTP/1.1\r\n${close}\r\n`,
  'a HEAD of a stream': `HEAD /stream HTTP/1.1\r\n${close}\r\n`,
  ...Object.fromEntries(
    [200, 201, 202, 204, 205, 301, 302, 304, 307, 308, 400, 404, 418, 500, 503].map((code) => [
      `the status ${code}`,
      `GET /status?code=${code} HTTP/1.1\r\n${close}\r\n`,
    ]),
  ),
  'HTTP/1.0 without a host': 'GET /length HTTP/1.0\r\n\r\n',
  'HTTP/1.1 without a host': 'GET /length HTTP/1.1\r\nconnection: close\r\n\r\n',
  'a GET with a body': `GET /null-body HTTP/1.1\r\n${close}${body('x')}`,
  'a method of its own': `PURGE /mirror HTTP/1.1\r\n${close}\r\n`,
  'a body that is cancelled': `POST /cancelled HTTP/1.1\r\n${close}${body('x'.repeat(1000))}`,
  'a body that is read in part': `POST /partly HTTP/1.1\r\n${close}${body('x'.repeat(100_000))}`,
  'a body that is read twice': `POST /clone HTTP/1.1\r\n${close}${body('twice')}`,
  'several cookies of the client': `GET /cookie HTTP/1.1\r\n${close}cookie: a=1\r\ncookie: b=2\r\n\r\n`,
  'headers that were added later': `GET /mutated HTTP/1.1\r\n${close}\r\n`,
  'an ArrayBuffer': `GET /buffer HTTP/1.1\r\n${close}\r\n`,
  'a DataView': `GET /view HTTP/1.1\r\n${close}\r\n`,
  'an empty text': `GET /empty HTTP/1.1\r\n${close}\r\n`,
  'a large text': `GET /large HTTP/1.1\r\n${close}\r\n`,
  'an encoding of its own': `GET /chunked HTTP/1.1\r\n${close}\r\n`,
  events: `GET /events HTTP/1.1\r\n${close}\r\n`,
  'the end of a head in a body, and a status text in Latin-1': `GET /crlf HTTP/1.1\r\n${close}\r\n`,
  'a request after a body that is not read': `POST /unread HTTP/1.1\r\nhost: name.example\r\n${body('x'.repeat(1000))}GET /length HTTP/1.1\r\n${close}\r\n`,
  'a status text': `GET /none HTTP/1.1\r\n${close}\r\n`,
  'several cookies': `GET /cookies HTTP/1.1\r\n${close}\r\n`,
  'binary data': `GET /binary HTTP/1.1\r\n${close}\r\n`,
  'a blob': `GET /blob HTTP/1.1\r\n${close}\r\n`,
  'a length of its own': `GET /length HTTP/1.1\r\n${close}\r\n`,
  'a type of its own, and a header in Latin-1': `GET /type HTTP/1.1\r\n${close}\r\n`,
  'a stream': `GET /stream HTTP/1.1\r\n${close}\r\n`,
  'an empty stream': `GET /empty-stream HTTP/1.1\r\n${close}\r\n`,
  'two requests on one connection': `GET /length HTTP/1.1\r\nhost: name.example\r\n\r\nGET /length HTTP/1.1\r\n${close}\r\n`,
}

interface Essence {
  status: string
  headers: string[]
  body: string
}

/** What a client gets: everything but the headers that belong to the connection. */
function essence(answer: string): Essence {
  const [head = '', ...rest] = answer.split('\r\n\r\n')
  const [status = '', ...lines] = head.split('\r\n')
  // The head of a second answer is part of it.
  const text = rest.join('\r\n\r\n').replace(/HTTP[\s\S]*?\r\n\r\n/, '')
  const isChunked = lines.some((line) => /^transfer-encoding: chunked/i.test(line))
  const headers = lines
    .map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase()))
    .filter((line) => !/^(date|connection|keep-alive|transfer-encoding|content-length):/.test(line))
    .sort()
  return { status, headers, body: isChunked ? unchunked(text) : text }
}

function unchunked(text: string): string {
  const [, size = '0'] = /^([0-9a-f]+)\r\n/.exec(text) ?? []
  const length = Number.parseInt(size, 16)
  if (length === 0) return ''
  const start = size.length + 2
  return text.slice(start, start + length) + unchunked(text.slice(start + length + 2))
}

const handler = new Function('request', `return (async () => { ${HANDLER} })()`) as (
  request: Request,
) => Promise<Response>

/** What @hono/node-server does by itself: a default type, no text of the status, and headers in UTF-8. */
const withoutHabits = ({ status, headers, body }: Essence): Essence => ({
  status: status.slice(0, 'HTTP/1.1 200'.length),
  headers: headers.filter((line) => !/^(content-type|x-latin):/.test(line)),
  body,
})

/** srvx sends no text of the status if the Response has none. */
const withText = (answer: Essence): Essence => ({
  ...answer,
  status: answer.status.replace(/ (\d+) $/, (_, code) => ` ${code} ${STATUS_CODES[code]}`),
})

/** HTTP/1.0 has no `Host`. @hono/node-server answers it with 400. */
const REFUSED = 'HTTP/1.0 without a host'
/** srvx does not answer the second request. */
const UNANSWERED = 'a request after a body that is not read'

test.for([
  ['@hono/node-server', getRequestListener(handler as never, { overrideGlobalObjects: false }), withoutHabits, REFUSED],
  ['srvx', toNodeHandler(handler as never), withText, UNANSWERED],
] as const)(
  `${Object.keys(cases).length} requests are answered as by %s`,
  async ([, listener, reduce, leftOut], { store, open, serve }) => {
    await publishFetchWorker(store, 'one', HANDLER)
    const ours = await serve((server) => open(thread).attach(server))
    const theirs = await serve((server) => server.on('request', listener as RequestListener))
    const mine: Record<string, Essence> = {}
    const peers: Record<string, Essence> = {}
    for (const [name, request] of Object.entries(cases)) {
      if (name === leftOut) continue
      mine[name] = reduce(essence(await raw(ours, request)))
      peers[name] = reduce(essence(await raw(theirs, request)))
    }
    expect(mine).toEqual(peers)
    expect(mine['a POST in chunks']?.body).toContain('"body":"abcde"')
  },
)
