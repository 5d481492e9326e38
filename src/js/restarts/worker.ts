/**
 * 'warmswap/worker': the functions that a worker needs, and no more. Every reload starts a worker, so this module loads
 * neither the addon nor the rest of warmswap.
 */

export { serveRequests, type RequestContext, type RequestHandler } from './serve.js'
