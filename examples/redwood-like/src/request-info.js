import { AsyncLocalStorage } from 'node:async_hooks'
import { defineState } from 'warmswap/state'

// One for both environments, and the same one after each re-optimization.
export const requestInfo = defineState('example.request-info', () => new AsyncLocalStorage())
