import { AsyncLocalStorage } from 'node:async_hooks'
import { defineState } from 'warmswap/state'

// With `new AsyncLocalStorage()` alone, a page that is imported across a re-optimization has a different instance than
// the worker.
export const context = defineState('example.context', () => new AsyncLocalStorage())
