// @module-tag system
/**
 * User code that imports warmswap, bundled by six bundlers: it works with the one line that the message names, and without
 * that line it fails with that message. Workers may be bundled with everything that they import.
 */

import { execFile } from 'node:child_process'
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { tools } from '../support/registry.js'

const run = promisify(execFile)

/** Bundles `entry` into a file of the same name in `folder`; `external` adds the line that keeps warmswap out. */
type Bundler = (project: string, entry: string, folder: string, external: boolean) => Promise<void>

/** Writes a configuration file or script and runs a program of a bundler with it. */
async function withFile(
  project: string,
  file: string,
  text: string,
  program: string,
  args: string[] = [],
): Promise<void> {
  writeFileSync(join(project, file), text)
  await run(process.execPath, [program, ...args], { cwd: project })
}

const BUNDLERS: Record<string, Bundler> = {
  esbuild: (project, entry, folder, external) =>
    withFile(
      project,
      'build.mjs',
      `import { build } from 'esbuild'
await build({ entryPoints: ['${entry}'], outfile: '${folder}/${entry}', bundle: true, format: 'esm', platform: 'node', logLevel: 'error', external: [${external ? "'warmswap'" : ''}] })`,
      join(project, 'build.mjs'),
    ),
  rollup: (project, entry, folder, external) =>
    withFile(
      project,
      'rollup.config.mjs',
      `// Rollup itself resolves no packages.
const packages = { name: 'packages', resolveId: (id) => (id.startsWith('warmswap') ? import.meta.resolve(id).slice('file://'.length) : null) }
export default { input: '${entry}', plugins: [packages], output: { file: '${folder}/${entry}', inlineDynamicImports: true }, external: [/^node:/${external ? ', /^warmswap/' : ''}], onwarn() {} }`,
      join(repository, 'node_modules/rollup/dist/bin/rollup'),
      ['-c', '--silent'],
    ),
  rolldown: (project, entry, folder, external) =>
    withFile(
      project,
      'rolldown.config.mjs',
      `export default { input: '${entry}', platform: 'node', output: { file: '${folder}/${entry}', codeSplitting: false }, external: [/^node:/${external ? ', /^warmswap/' : ''}] }`,
      join(repository, 'node_modules/rolldown/bin/cli.mjs'),
      ['-c', 'rolldown.config.mjs'],
    ),
  webpack: (project, entry, folder, external) =>
    withFile(
      project,
      'build.cjs',
      `const webpack = require(${JSON.stringify(join(tools, 'webpack'))})
const output = { path: __dirname + '/${folder}', filename: '${entry}', module: true, library: { type: 'module' } }
webpack({ mode: 'none', target: 'node20', entry: './${entry}', experiments: { outputModule: true }, output, externals: {${external ? " warmswap: 'module warmswap' " : ''}} }, (error, stats) => {
  if (error || stats.hasErrors()) throw error ?? new Error(stats.toString('errors-only'))
})`,
      join(project, 'build.cjs'),
    ),
  'Vite SSR': (project, entry, folder, external) =>
    withFile(
      project,
      'vite.config.mjs',
      `export default { logLevel: 'error', build: { ssr: '${entry}', outDir: '${folder}', rollupOptions: { output: { entryFileNames: '[name].mjs' } } }, ssr: { ${external ? "external: ['warmswap']" : 'noExternal: true'} } }`,
      join(repository, 'node_modules/vite/bin/vite.js'),
      ['build'],
    ),
  ncc: async (project, entry, folder, external) => {
    await run(
      process.execPath,
      [
        join(tools, '@vercel/ncc/dist/ncc/cli.js'),
        'build',
        entry,
        '--out',
        folder,
        '--quiet',
        ...(external ? ['--external', 'warmswap'] : []),
      ],
      { cwd: project },
    )
    renameSync(join(project, folder, 'index.mjs'), join(project, folder, entry))
  },
}

/** A project that has warmswap installed, with a host and a worker of its own. */
function makeProject(folder: string): string {
  mkdirSync(join(folder, 'node_modules'))
  for (const name of ['esbuild', 'vite'])
    symlinkSync(join(repository, 'node_modules', name), join(folder, 'node_modules', name))
  symlinkSync(repository, join(folder, 'node_modules/warmswap'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }))
  writeFileSync(
    join(folder, 'worker.mjs'),
    `import { serveRequests } from 'warmswap/worker'\nserveRequests((request) => request + 1)\n`,
  )
  writeFileSync(
    join(folder, 'host.mjs'),
    `import { openBundles, openCoordinator, startProcess, startWorkerThread } from 'warmswap'
const [, , root, worker] = process.argv
try {
  const store = await openBundles(root)
  const stage = await store.stage()
  await stage.adopt(worker)
  await stage.publish()
  const answers = []
  for (const start of [startProcess, startWorkerThread]) {
    const coordinator = openCoordinator(store, { start: (context) => start(context, 'worker.mjs') })
    answers.push(await coordinator.dispatch(1))
    await coordinator.close()
  }
  await store.close()
  console.log(JSON.stringify(answers))
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message }))
}
`,
  )
  return folder
}

/** Runs the bundled host, with a store outside the project and the bundled worker. */
async function answer(project: string, memory: string): Promise<unknown> {
  const { stdout } = await run(
    process.execPath,
    [join(project, 'host/host.mjs'), join(memory, 'store'), join(project, 'workers')],
    { cwd: project },
  )
  return JSON.parse(stdout.trim())
}

describe.each(Object.keys(BUNDLERS))('%s', (name) => {
  const bundle = BUNDLERS[name] as Bundler

  test('works with the line that keeps warmswap external, and a worker that is bundled whole', async ({
    disk,
    memory,
  }) => {
    const project = makeProject(disk)
    await bundle(project, 'worker.mjs', 'workers', false)
    await bundle(project, 'host.mjs', 'host', true)
    expect(await answer(project, memory)).toEqual([2, 2])
  })

  test('without it fails with a message that names the line', async ({ disk, memory }) => {
    const project = makeProject(disk)
    await bundle(project, 'worker.mjs', 'workers', false)
    await bundle(project, 'host.mjs', 'host', false)
    expect(await answer(project, memory)).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringMatching(new RegExp(`a bundler has copied the code.*${name}.*external`)),
    })
  })
})
