/** The generation of a worker process: named in its environment, pinned by the process itself before it is ready. */

import { dirname } from 'node:path'
import { type Pin, openBundles } from '../bundles.js'

const VARIABLE = 'WARMSWAP_GENERATION'

/** Tells a child which generation it runs. The parent holds a pin on it until the child has its own. */
export function generationFor(pin: Pin): Record<string, string> {
  // <root>/gens/<number>/tree
  return { [VARIABLE]: JSON.stringify({ root: dirname(dirname(dirname(pin.path))), number: pin.generation.number }) }
}

/** For the life of this process. */
let kept: Pin | undefined

/** Pins the generation that the parent named. */
export async function keepGeneration(): Promise<void> {
  const text = process.env[VARIABLE]
  if (text === undefined || kept !== undefined) return
  // A process that this one starts runs no generation of its own.
  delete process.env[VARIABLE]
  const { root, number } = JSON.parse(text) as { root: string; number: number }
  const store = await openBundles(root)
  kept = store.pin({ generation: number })
}
