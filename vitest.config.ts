import { defineConfig } from 'vitest/config'
import { testingAddon } from './__test__/support/paths.js'

export default defineConfig({
  // Tests import some modules of src/js directly.
  define: { __WARMSWAP_TESTING__: 'false' },
  test: {
    include: ['__test__/**/*.test.ts'],
    // Native addons and processes that get killed: one file, one process (vitest's own advice for addons).
    pool: 'forks',
    // Storms measure time on two cores; two at once would measure each other.
    fileParallelism: false,
    // For a suite that is run against its mutants. Set in the tests' processes only: rolldown's loader reads the same
    // variable, and would take our addon for its own.
    env: process.env.WARMSWAP_TESTING_ADDON === '1' ? { NAPI_RS_NATIVE_LIBRARY_PATH: testingAddon } : {},
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
