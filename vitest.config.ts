import { readdirSync, readFileSync } from 'node:fs'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { testingAddon } from './__test__/support/paths.js'

/**
 * The tiers of the tests. A file names its own by `@module-tag storm` or `@module-tag system` in a comment before its
 * imports; without one it is in `fast`. `npx vitest --project fast` runs one tier.
 */
const tiers = {
  fast: 'quick, no measurements',
  system: 'minutes of work, or programs from outside: browsers, S3 servers, package managers, other test runs',
  storm: 'measures memory, or times of milliseconds: one file at a time, and nothing else',
}
type Tier = keyof typeof tiers

const files: Record<Tier, string[]> = { fast: [], system: [], storm: [] }
for (const entry of readdirSync('__test__', { recursive: true })) {
  const file = `__test__/${String(entry)}`
  if (!file.endsWith('.test.ts')) continue
  const [, tag = 'fast'] = /@module-tag (\w+)/.exec(readFileSync(file, 'utf8').split(/^import /m, 1)[0] ?? '') ?? []
  if (!(tag in tiers)) throw new Error(`${file} has the unknown tag ${tag}. Expected storm or system`)
  files[tag as Tier].push(file)
}

/** Starts with the long files, so that no worker is left with one at the end. */
class LongFilesFirst extends BaseSequencer {
  override async sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(specifications)
    const isLong = ({ project }: TestSpecification): boolean => project.name === 'system'
    return [...sorted.filter(isLong), ...sorted.filter((each) => !isLong(each))]
  }
}

export default defineConfig({
  // Tests import some modules of src/js directly.
  define: { __WARMSWAP_TESTING__: 'false' },
  test: {
    // Native addons and processes that get killed: one file, one process (vitest's own advice for addons).
    pool: 'forks',
    // Runs the suite with seeded bugs. Set in the tests' processes only: rolldown's loader reads the same variable, and
    // would load this addon as its own.
    env: process.env.WARMSWAP_TESTING_ADDON === '1' ? { NAPI_RS_NATIVE_LIBRARY_PATH: testingAddon } : {},
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Of the concurrent tests of one file. Each of them starts a process.
    maxConcurrency: 3,
    sequence: { sequencer: LongFilesFirst },
    tags: Object.entries(tiers).map(([name, description]) => ({ name, description })),
    projects: Object.entries(files).map(([name, include]) => ({
      extends: true as const,
      test: {
        name,
        include,
        // Most tests wait for processes, servers and timers. With a fourth worker, tests of milliseconds failed.
        maxWorkers: name === 'storm' ? 1 : Number(process.env.WARMSWAP_TEST_WORKERS ?? 3),
        sequence: { groupOrder: name === 'storm' ? 1 : 0 },
      },
    })),
  },
})
