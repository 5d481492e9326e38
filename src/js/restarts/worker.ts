/**
 * 'warmswap/worker': what a worker needs, and no more. Every reload starts one, so it loads neither the addon nor the rest
 * of warmswap.
 */

export { type RequestContext, type RequestHandler, serveRequests } from './serve.js'
export { type FetchContext, type FetchHandler, serveFetch } from './serve-fetch.js'
