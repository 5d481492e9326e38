/**
 * Fresh sockets for fetch and the global agents: a kept one leads to the predecessor, which is a race of its own
 * (cloudflare/workers-sdk#14641) and is asked for with `reuse`. The user's dispatcher and agents stay the ones they
 * are, with their proxy, limits and certificates.
 */

import http from 'node:http'
import https from 'node:https'

/** As far as it is used here. */
interface Dispatcher {
  dispatch(options: object, handler: unknown): boolean
}

/** Where undici, Node's fetch, keeps its dispatcher; registered by it for just this: to be replaced. */
const FETCH_DISPATCHER = Symbol.for('undici.globalDispatcher.1')

/** Until the returned function is called, fetch closes each connection after its answer. */
export function closeAfterUse(): () => void {
  // Node loads its fetch when one of its classes is first looked at.
  void globalThis.Headers
  const scope = globalThis as { [FETCH_DISPATCHER]?: Dispatcher }
  const users = scope[FETCH_DISPATCHER]
  if (users === undefined) return () => {}
  const closing = Object.create(users, {
    dispatch: { value: (options: object, handler: unknown) => users.dispatch({ ...options, reset: true }, handler) },
  }) as Dispatcher
  scope[FETCH_DISPATCHER] = closing
  return () => {
    // Whoever has set another one since wants that.
    if (scope[FETCH_DISPATCHER] === closing) scope[FETCH_DISPATCHER] = users
  }
}

/** Closes what http.globalAgent and https.globalAgent keep idle. */
export function dropIdleSockets(): void {
  for (const { freeSockets } of [http.globalAgent, https.globalAgent]) {
    for (const socket of Object.values(freeSockets).flatMap((each) => each ?? [])) socket.destroy()
  }
}
