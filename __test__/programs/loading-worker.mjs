// Loads the addon. 'busy' keeps calls to it in flight until it is terminated.
import { parentPort } from 'node:worker_threads'
import * as warmswap from 'warmswap'

parentPort.postMessage(typeof warmswap.WarmswapError)
if (process.argv[2] === 'busy') for (;;) await warmswap.unpack('/nowhere', '/nowhere/either').catch(() => {})
