import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['__test__/**/*.test.ts'],
    // Native addons and processes that get killed: one file, one process (vitest's own advice for addons).
    pool: 'forks',
    // Storms measure time on two cores; two at once would measure each other.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
