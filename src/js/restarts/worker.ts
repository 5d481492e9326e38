/**
 * 'warmswap/worker': what a worker needs, and no more. Every reload starts one, so it loads neither the addon nor the rest
 * of warmswap.
 */

export { serveRequests, type RequestContext, type RequestHandler } from './serve.js'
