// Copied into each application: what of warmswap/state is the same as before.
import { defineState, sharedCell, stateBackend } from 'warmswap/state'

const fresh = () => Math.random().toString(36).slice(2)
const state = defineState('hosts/state', () => ({ id: fresh() }))
const cell = sharedCell('hosts/cell')

globalThis.hostsLog ??= []
const inThisThread = globalThis.hostsLog
const inAllThreads = sharedCell('hosts/log')
const log = (event) => {
  inThisThread.push(event)
  inAllThreads.update((events = []) => [...events, event])
}
defineState('hosts/resource', () => log('open'), { version: 'auto', dispose: () => log('close') })

/** The ids of both values, and what happened to the resource. `marks` are what the test edits. */
export const probe = (...marks) =>
  new Response(
    JSON.stringify({
      marks: ['probe 0', ...marks],
      state: state.id,
      cell: cell.update((id) => id ?? fresh()).value,
      backend: stateBackend,
      resource: inThisThread.join(' '),
      history: inAllThreads.read().value.join(' '),
    }),
  )
