/** Each package manager as a user runs it: from an empty folder, with an empty cache. */

import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './paths.js'
import { tools } from './registry.js'

/** Packages to test with; with npm only, because all managers would install the same sixty packages. */
const PEERS = { esbuild: '^0.28.0', vite: '^8.0.0', vitest: '^4.0.0' }

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** A project folder, and how its manager installs and runs in it. */
export interface Project {
  readonly folder: string
  install(): Promise<Outcome>
  /** Runs a Node program of the folder. */
  node(...args: string[]): Promise<Outcome>
  /** Runs its vitest suite; projects of npm only have one. */
  vitest(): Promise<Outcome>
}

export type ManagerName = 'npm' | 'pnpm' | 'pnpm workspace' | 'yarn node_modules' | 'yarn PnP' | 'bun' | 'deno'

function exec(command: string, args: string[], cwd: string, env: Record<string, string>): Promise<Outcome> {
  // Without this repository's environment: a user has no NAPI_RS_NATIVE_LIBRARY_PATH and no npm_config_*.
  const clean = { PATH: process.env.PATH ?? '', HOME: join(cwd, 'home'), CI: 'true', NO_COLOR: '1', ...env }
  return new Promise((resolve) => {
    execFile(command, args, { cwd, env: clean, maxBuffer: 1 << 26, timeout: 240_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr })
    })
  })
}

/** Creates an empty project in `folder`, whose dependencies `manager` will install from `registry`. */
export function makeProject(manager: ManagerName, folder: string, registry: string): Project {
  const isWorkspace = manager === 'pnpm workspace'
  const home = isWorkspace ? join(folder, 'packages/app') : folder
  mkdirSync(join(home, 'home'), { recursive: true })
  const manifest = {
    name: 'app',
    private: true,
    type: 'module',
    dependencies: { warmswap: '0.1.0', ...(manager === 'npm' ? PEERS : {}) },
  }
  writeFileSync(join(home, 'package.json'), JSON.stringify(manifest))
  for (const file of ['consumer.mjs', 'race.test.mjs'])
    cpSync(join(repository, '__test__/install', file), join(home, file))
  const node = process.execPath
  const env = {
    npm_config_registry: registry,
    npm_config_cache: join(folder, 'npm-cache'),
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
  }
  const plain = (install: () => Promise<Outcome>, variables: Record<string, string> = {}): Project => ({
    folder: home,
    install,
    node: (...args) => exec(node, args, home, variables),
    vitest: () => exec(node, [join(home, 'node_modules/vitest/vitest.mjs'), 'run'], home, variables),
  })
  switch (manager) {
    case 'npm':
      return plain(() => exec('npm', ['install', '--ignore-scripts'], home, env))
    case 'pnpm':
    case 'pnpm workspace': {
      if (isWorkspace) {
        writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'root', private: true }))
        writeFileSync(join(folder, 'pnpm-workspace.yaml'), 'packages:\n  - packages/*\n')
      }
      const stores = ['--store-dir', join(folder, 'pnpm-store'), `--config.cache-dir=${join(folder, 'pnpm-cache')}`]
      return plain(() =>
        exec(
          node,
          [
            join(tools, 'pnpm/bin/pnpm.cjs'),
            'install',
            '--no-frozen-lockfile',
            '--ignore-scripts',
            '--registry',
            registry,
            ...stores,
          ],
          folder,
          { ...env, XDG_DATA_HOME: join(folder, 'data') },
        ),
      )
    }
    case 'yarn node_modules':
    case 'yarn PnP':
      return yarn(manager === 'yarn PnP' ? 'pnp' : 'node-modules', home, registry, plain)
    case 'bun':
      return plain(() =>
        exec(
          join(tools, '@oven/bun-linux-x64/bin/bun'),
          ['install', '--ignore-scripts', '--registry', registry, '--cache-dir', join(folder, 'bun-cache')],
          home,
          env,
        ),
      )
    case 'deno': {
      writeFileSync(join(home, 'deno.json'), JSON.stringify({ nodeModulesDir: 'manual', minimumDependencyAge: '0' }))
      const deno = join(repository, 'node_modules/deno/bin.cjs')
      return plain(() =>
        exec(node, [deno, 'install'], home, {
          ...env,
          NPM_CONFIG_REGISTRY: registry,
          DENO_DIR: join(folder, 'deno-cache'),
          DENO_NO_UPDATE_CHECK: '1',
        }),
      )
    }
  }
}

function yarn(
  nodeLinker: 'pnp' | 'node-modules',
  home: string,
  registry: string,
  plain: (install: () => Promise<Outcome>) => Project,
): Project {
  const settings = {
    nodeLinker,
    npmRegistryServer: registry,
    unsafeHttpWhitelist: ['127.0.0.1'],
    enableGlobalCache: false,
    enableTelemetry: false,
    enableImmutableInstalls: false,
    enableScripts: false,
    npmMinimalAgeGate: 0,
  }
  writeFileSync(join(home, '.yarnrc.yml'), JSON.stringify(settings))
  const program = join(tools, '@yarnpkg/cli-dist/bin/yarn.js')
  const run = (...args: string[]): Promise<Outcome> => exec(process.execPath, [program, ...args], home, {})
  const project = plain(() => run('install'))
  return nodeLinker === 'node-modules' ? project : { ...project, node: (...args) => run('node', ...args) }
}
