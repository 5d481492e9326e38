// @module-tag system
/**
 * Dependencies of real tools, saved and restored with the command line, and then used: in a fresh checkout next to the first,
 * with the options that `save` has named and no others.
 */

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect } from 'vitest'
import { run as warmswap } from '../support/cli.js'
import { repository } from '../support/paths.js'
import { type Registry, startRegistry, tools } from '../support/registry.js'
import { makeTemp, removeTemp, test } from '../support/temp.js'
import { digest } from '../support/trees.js'

const run = promisify(execFile)
const node = process.execPath

// Yarn and Deno know only certificates of their own, so that they need a registry without TLS.
let folder: string
let registry: Registry
beforeAll(async () => {
  folder = makeTemp()
  registry = await startRegistry(folder)
}, 60_000)
afterAll(async () => {
  await registry.stop()
  removeTemp(folder)
})

/** A project as it is checked out: sources and manifests. */
type Sources = Record<string, string>

interface Tool {
  sources: () => Sources
  /** The commands that make its trees, in the project. */
  install: string[][]
  /** What is saved; one that the tool does not make is left out. */
  trees: string[]
  /** Commands that use them, and what they print. */
  uses: [command: string[], prints: RegExp][]
}

const root = (more: object = {}): Sources => ({
  'package.json': JSON.stringify({
    name: 'root',
    private: true,
    type: 'module',
    dependencies: { 'is-odd': '3.0.1', semver: '7.7.2' },
    ...more,
  }),
  'main.js':
    "import isOdd from 'is-odd'\nimport semver from 'semver'\nconsole.log(semver.inc('1.2.3', 'major'), isOdd(3))\n",
})
const workspaces = (version: string): Sources => ({
  ...root({ workspaces: ['packages/*'] }),
  'packages/own/package.json': JSON.stringify({ name: 'own', version: '1.0.0', type: 'module', exports: './own.js' }),
  'packages/own/own.js': "export const name = 'own'\n",
  'packages/app/package.json': JSON.stringify({
    name: 'app',
    version: '1.0.0',
    type: 'module',
    dependencies: { own: version, 'is-odd': '2.0.0' },
  }),
  'packages/app/app.js': "import isOdd from 'is-odd'\nimport { name } from 'own'\nconsole.log(name, isOdd(3))\n",
})
const alone: Tool['uses'] = [
  [[node, 'main.js'], /^2\.0\.0 true$/],
  [['node_modules/.bin/semver', '-i', 'patch', '1.2.3'], /^1\.2\.4$/],
]
const shared: Tool['uses'] = [...alone, [[node, 'packages/app/app.js'], /^own true$/]]
const folders = ['node_modules', 'packages/app/node_modules']

const npm = ['npm', 'install']
const pnpm = [node, join(tools, 'pnpm/bin/pnpm.cjs'), 'install', '--no-frozen-lockfile', '--store-dir', '../pnpm-store']
const bun = [join(tools, '@oven/bun-linux-x64/bin/bun'), 'install', '--cache-dir', '../bun-cache']
const yarn = [node, join(tools, '@yarnpkg/cli-dist/bin/yarn.js'), 'install']
const deno = [node, join(repository, 'node_modules/deno/bin.cjs')]
const python = '.venv/bin/python'

const yarnrc = (): Sources => ({
  '.yarnrc.yml': JSON.stringify({
    nodeLinker: 'node-modules',
    npmRegistryServer: registry.url,
    unsafeHttpWhitelist: ['127.0.0.1'],
    enableGlobalCache: false,
    enableTelemetry: false,
    enableImmutableInstalls: false,
    npmMinimalAgeGate: 0,
  }),
})

const TOOLS: Record<string, Tool> = {
  npm: { sources: root, install: [npm], trees: folders, uses: alone },
  'npm workspaces': { sources: () => workspaces('*'), install: [npm], trees: folders, uses: shared },
  pnpm: { sources: root, install: [pnpm], trees: folders, uses: alone },
  'pnpm workspaces': {
    sources: () => ({ ...workspaces('workspace:*'), 'pnpm-workspace.yaml': 'packages:\n  - packages/*\n' }),
    install: [pnpm],
    trees: folders,
    uses: shared,
  },
  'yarn with the node-modules linker': {
    sources: () => ({ ...workspaces('workspace:*'), ...yarnrc() }),
    install: [yarn],
    trees: folders,
    uses: shared,
  },
  bun: { sources: root, install: [[...bun, '--linker', 'hoisted']], trees: folders, uses: alone },
  'bun workspaces': {
    sources: () => workspaces('workspace:*'),
    install: [[...bun, '--linker', 'isolated']],
    trees: folders,
    uses: shared,
  },
  deno: {
    sources: () => ({
      ...root(),
      'deno.json': JSON.stringify({ nodeModulesDir: 'auto', minimumDependencyAge: '0' }),
    }),
    install: [[...deno, 'install']],
    trees: folders,
    uses: [alone[0] as Tool['uses'][0], [[...deno, 'run', '--cached-only', 'main.js'], /^2\.0\.0 true$/]],
  },
  'a Python venv': {
    sources: () => ({ 'main.py': 'import sys, own\nprint(own.NAME, sys.prefix != sys.base_prefix)\n' }),
    install: [
      ['python3', '-m', 'venv', '--without-pip', '.venv'],
      [python, '-c', "import site\nopen(site.getsitepackages()[0] + '/own.py', 'w').write('NAME = \"own\"')"],
    ],
    trees: ['.venv'],
    uses: [[[python, 'main.py'], /^own True$/]],
  },
}

const environment = (project: string): Record<string, string> => ({
  PATH: process.env.PATH ?? '',
  HOME: join(dirname(project), 'home'),
  CI: 'true',
  NO_COLOR: '1',
  npm_config_registry: registry.url,
  NPM_CONFIG_REGISTRY: registry.url,
  npm_config_cache: join(dirname(project), 'npm-cache'),
  npm_config_audit: 'false',
  npm_config_update_notifier: 'false',
  DENO_DIR: join(dirname(project), 'deno-cache'),
  DENO_NO_UPDATE_CHECK: '1',
  XDG_DATA_HOME: join(dirname(project), 'data'),
})

async function output([file = '', ...args]: string[], project: string): Promise<string> {
  const options = { cwd: project, env: environment(project), timeout: 240_000, maxBuffer: 1 << 26 }
  return (await run(file, args, options)).stdout.trim()
}

function checkout(project: string, sources: Sources): string {
  for (const [name, text] of Object.entries(sources)) {
    mkdirSync(dirname(join(project, name)), { recursive: true })
    writeFileSync(join(project, name), text)
  }
  return project
}

/** Saves a tree, restores it with the options that `save` named, and compares. */
function carry(from: string, into: string, store: string[]): void {
  const saved = warmswap('cache', 'save', from, ...store)
  expect(saved.code, saved.out + saved.errors).toBe(0)
  const [option, value] = /(--(?:symlinks|max-[a-z-]+)) (\S+)/.exec(saved.out)?.slice(1) ?? []
  const restored = warmswap('cache', 'restore', into, ...store)
  if (option === undefined || value === undefined) expect(restored.code, restored.out + restored.errors).toBe(0)
  else {
    // The refusal names this option, and with it the restore succeeds.
    expect(restored).toMatchObject({ code: 5, out: expect.stringContaining(`${option} ${value}`) })
    const again = warmswap('cache', 'restore', into, ...store, option, value)
    expect(again.code, again.out + again.errors).toBe(0)
  }
  expect(digest(into)).toEqual(digest(from))
}

test.for(Object.entries(TOOLS))(
  '%s: a restored tree works in a fresh checkout',
  { timeout: 300_000 },
  async ([, { sources, install, trees, uses }], { disk }) => {
    const first = checkout(join(disk, 'first'), sources())
    for (const command of install) await output(command, first)
    const second = checkout(join(disk, 'second'), sources())
    const made = trees.filter((tree) => existsSync(join(first, tree)))
    expect(made).toContain(trees[0])
    for (const tree of made)
      carry(join(first, tree), join(second, tree), ['--store', `file://${join(disk, 'store')}`, '--key', tree])
    // Nothing of the first one must help.
    rmSync(first, { recursive: true })
    for (const [command, prints] of uses) expect(await output(command, second), command.join(' ')).toMatch(prints)
  },
)
