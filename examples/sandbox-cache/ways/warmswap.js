// The same with warmswap: staged next to /deno-dir, verified, committed in one step, and never later than the deadline.
import { openCache } from 'warmswap'
import { BUCKET, CREDENTIALS } from '../server.js'

export const name = 'warmswap'

export async function createWay({ endpoint, prefix }) {
  const cache = openCache({ scheme: 's3', bucket: BUCKET, prefix, endpoint, ...CREDENTIALS })
  const tickets = new WeakMap()
  return {
    async restore(sandbox) {
      const { outcome, ticket } = await cache.restore({
        key: 'site',
        into: sandbox.denoDir,
        deadlineMs: 5_000,
        idleMs: 1_000,
      })
      tickets.set(sandbox, ticket)
      return outcome
    },
    async snapshot(sandbox) {
      // Waits until the tree is stable: a finished git clone says nothing about the modules.
      const options = { from: sandbox.denoDir, preset: 'deno', quietMs: 100, deadlineMs: 30_000 }
      // Replaces only the version that this sandbox has restored, and not one that another sandbox published since.
      return (await cache.snapshot({ key: 'site', ...options, ticket: tickets.get(sandbox) })).outcome
    },
    close: () => cache.close(),
  }
}
