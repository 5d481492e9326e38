import { defineConfig } from 'tsdown'

const entry = {
  index: 'src/js/index.ts',
  state: 'src/js/state/index.ts',
  vite: 'src/js/plugins/vite/index.ts',
  'out-dir-worker': 'src/js/plugins/vite/out-dir-view/worker.ts',
  esbuild: 'src/js/plugins/esbuild/index.ts',
  vitest: 'src/js/race-kit/index.ts',
  'race-point': 'src/js/race-kit/race-point.ts',
  worker: 'src/js/restarts/worker.ts',
  'env-runner': 'src/js/env-runner/index.ts',
  'process-guard': 'src/js/restarts/process-guard.ts',
  keeper: 'src/js/keeper/keeper.ts',
  cli: 'src/js/cli/index.ts',
}

/** WARMSWAP_TESTING=1 keeps the seeded bugs, for tests that prove that the suites find them. */
const isTesting = process.env.WARMSWAP_TESTING === '1'

const shared = {
  format: 'esm' as const,
  platform: 'node' as const,
  target: 'node20.19',
  outDir: 'dist',
  outExtensions: () => ({ js: '.js', dts: '.d.ts' }),
  fixedExtension: false,
  deps: { neverBundle: [/binding\.cjs$/, 'vite', 'vite/module-runner', 'vitest', 'esbuild', /^env-runner/] },
  define: { __WARMSWAP_TESTING__: String(isTesting) },
  clean: false,
  logLevel: 'warn' as const,
}

/** Each reload starts a worker: as seven small chunks, 'warmswap/worker' took 2 ms longer to load. */
const codeSplitting = {
  groups: [
    {
      name: 'base',
      test: /src\/js\/(native\/(callbacks|errors|loss|validate)|restarts\/remote-error)\.ts$/,
      priority: 2,
    },
    {
      name: 'serve',
      test: /src\/js\/restarts\/(cancellation|host-link|http\/exchange|incoming|outgoing|parts|serve|serve-fetch|wait)\.ts$/,
    },
  ],
}

export default defineConfig([
  { ...shared, entry, dts: false, sourcemap: true, outputOptions: { codeSplitting } },
  // One file without chunks and without Node: bundlers and workerd take it as it is.
  {
    ...shared,
    entry: { 'state-portable': 'src/js/state/portable.ts' },
    platform: 'neutral' as const,
    treeshake: { moduleSideEffects: false },
    dts: false,
    sourcemap: true,
  },
  // One self-contained declaration file per public entry, so that index.d.ts can be read and reviewed.
  ...(isTesting ? [] : ['index', 'state', 'vite', 'esbuild', 'vitest', 'race-point', 'worker', 'env-runner']).map(
    (name) => ({
      ...shared,
      entry: { [name]: entry[name as keyof typeof entry] },
      dts: { emitDtsOnly: true },
    }),
  ),
])
