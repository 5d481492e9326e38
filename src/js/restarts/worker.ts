/**
 * 'warmswap/worker': the functions that a worker needs, and no more. Every reload starts a worker, so this module loads
 * neither the addon nor the rest of warmswap.
 */

export { type RequestContext, type RequestHandler, serveRequests } from './serve.js'
export { type FetchContext, type FetchHandler, serveFetch } from './serve-fetch.js'
