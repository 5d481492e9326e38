/** The registry on the native root. What needs Vite is in the Vite plugins' suite. */

import { expect, test } from 'vitest'
import * as root from 'warmswap'
import * as state from 'warmswap/state'
import { registrySuite } from './suites/registry.js'

test('the addon is the backend here', () => {
  expect(state.stateBackend).toBe('native')
})

test('warmswap and warmswap/state are the same registry', () => {
  expect(root.defineState('either', () => ({}))).toBe(state.defineState('either', () => ({})))
})

registrySuite(state)
