/**
 * Fresh sockets for fetch and the global agents. A kept socket leads to the predecessor. That is a race of its own
 * (cloudflare/workers-sdk#14641), which the option `reuse` tests. The user's dispatcher and agents stay in use, with
 * their proxy, limits and certificates.
 */

import http from 'node:http'
import https from 'node:https'

/** As far as it is used here. */
interface Dispatcher {
  dispatch(options: object, handler: unknown): boolean
}

/** Symbol under which undici, Node's fetch, keeps its dispatcher. undici registers it so that it can be replaced. */
const FETCH_DISPATCHER = Symbol.for('undici.globalDispatcher.1')

/** Makes fetch close each connection after its response, until the returned function is called. */
export function closeAfterUse(): () => void {
  // Node loads its fetch when one of its classes is first read.
  void globalThis.Headers
  const scope = globalThis as { [FETCH_DISPATCHER]?: Dispatcher }
  const users = scope[FETCH_DISPATCHER]
  if (users === undefined) return () => {}
  const closing = Object.create(users, {
    dispatch: { value: (options: object, handler: unknown) => users.dispatch({ ...options, reset: true }, handler) },
  }) as Dispatcher
  scope[FETCH_DISPATCHER] = closing
  return () => {
    // Another dispatcher was set in the meantime: keep that one.
    if (scope[FETCH_DISPATCHER] === closing) scope[FETCH_DISPATCHER] = users
  }
}

/** Closes the idle sockets of http.globalAgent and https.globalAgent. */
export function dropIdleSockets(): void {
  for (const { freeSockets } of [http.globalAgent, https.globalAgent]) {
    for (const socket of Object.values(freeSockets).flatMap((each) => each ?? [])) socket.destroy()
  }
}
