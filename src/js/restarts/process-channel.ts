/**
 * Errors in Node's handling of a child's channel. Node parses the bytes inside its own listeners, where an exception
 * ends the host: bytes that are not a message, or a message in Node's own namespace, which begins with NODE_.
 */

import type { ChildProcess } from 'node:child_process'

type Listener = (...args: unknown[]) => void

/** Node's handle of the channel. Not public, but the same in Node 20 to 25. */
interface ChannelHandle {
  onread?: Listener
}

/** Calls `refuse` with the exceptions of Node's listeners on this child's channel. */
export function shieldChannel(child: ChildProcess, refuse: (error: unknown) => void): void {
  const shielded = (listener: Listener): Listener =>
    function (this: unknown, ...args) {
      try {
        Reflect.apply(listener, this, args)
      } catch (error) {
        refuse(error)
      }
    }
  for (const listener of child.listeners('internalMessage') as Listener[]) {
    child.off('internalMessage', listener)
    child.on('internalMessage', shielded(listener))
  }
  const key = Object.getOwnPropertySymbols(child).find(({ description }) => description === 'kChannelHandle')
  const handle = key && (child as unknown as Record<symbol, ChannelHandle | undefined>)[key]
  if (typeof handle?.onread === 'function') handle.onread = shielded(handle.onread)
}
