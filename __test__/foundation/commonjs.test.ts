/** require('warmswap'): the ES module itself, with types for CommonJS under node16. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const { exports } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
}
/** 'warmswap/vitest' needs a runner around it. */
const entries = Object.keys(exports)
  .filter((name) => !['./package.json', './vitest'].includes(name))
  .map((name) => `warmswap${name.slice(1)}`)
const nodes = { 'Node 20': process.execPath, 'Node 22': join(repository, 'node_modules/node22-linux-x64/bin/node') }

function project(disk: string, type: 'commonjs' | 'module'): string {
  mkdirSync(join(disk, 'node_modules/@types'), { recursive: true })
  writeFileSync(join(disk, 'package.json'), JSON.stringify({ name: 'user', private: true, type }))
  symlinkSync(repository, join(disk, 'node_modules/warmswap'))
  for (const name of ['@types/node', 'vite', 'vitest', 'esbuild'])
    symlinkSync(join(repository, 'node_modules', name), join(disk, 'node_modules', name))
  return disk
}

test.for(Object.entries(nodes))(
  '%s: every entry can be required, and is the module that import returns',
  ([, node], { disk }) => {
    const root = project(disk, 'commonjs')
    writeFileSync(
      join(root, 'user.cjs'),
      `(async () => {
       for (const name of ${JSON.stringify(entries)}) {
         const [required, imported] = [require(name), await import(name)]
         for (const key of Object.keys(imported)) if (required[key] !== imported[key]) console.log(name, key, 'is another one')
         if (Object.keys(imported).length === 0) console.log(name, 'is empty')
       }
       require('warmswap/state').defineState('shared', () => 1)
       console.log((await import('warmswap')).peekState('shared'))
     })()`,
    )
    const { stdout, stderr } = spawnSync(node, ['user.cjs'], { cwd: root, encoding: 'utf8' })
    expect([stdout.trim(), stderr]).toEqual(['1', ''])
  },
)

test('the types are valid in CommonJS and in ES modules under node16, in strict mode', ({ disk }) => {
  const root = project(disk, 'commonjs')
  const program = (how: (name: string, from: string) => string): string => `
    ${how('warmswap', 'warmswap')}
    ${how('state', 'warmswap/state')}
    ${how('vite', 'warmswap/vite')}
    ${how('esbuild', 'warmswap/esbuild')}
    ${how('worker', 'warmswap/worker')}
    ${how('point', 'warmswap/race-point')}
    ${how('kit', 'warmswap/vitest')}
    export const opened: Promise<{ root: string }> = warmswap.openBundles('/tmp/a', { keep: 1 })
    export const value: number = state.defineState('a', () => 1)
    export const plugins: { name: string }[] = vite.default()
    export const wrong = (): unknown =>
      // @ts-expect-error: an option that is none
      warmswap.openBundles('/tmp/a', { kep: 1 })
    worker.serveRequests((request: string) => request)
    void esbuild.atomicOutdir
    void point.racePoint('a')
    void kit.setup`
  writeFileSync(
    join(root, 'user.cts'),
    program((name, from) => `import ${name} = require('${from}')`),
  )
  writeFileSync(
    join(root, 'user.mts'),
    program((name, from) => `import * as ${name} from '${from}'`),
  )
  writeFileSync(
    join(root, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        module: 'node16',
        moduleResolution: 'node16',
        target: 'es2022',
        lib: ['es2023', 'esnext.disposable', 'dom'],
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        types: ['node'],
      },
      files: ['user.cts', 'user.mts'],
    }),
  )
  const { stdout, status } = spawnSync(
    process.execPath,
    [join(repository, 'node_modules/typescript/bin/tsc'), '-p', root],
    { cwd: root, encoding: 'utf8' },
  )
  expect([stdout, status]).toEqual(['', 0])
})
