/** warmswap/esbuild: with real esbuild contexts and a real store. */

import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as esbuild from 'esbuild'
import { type BundleStore, openBundles } from 'warmswap'
import { atomicOutdir } from 'warmswap/esbuild'
import { describe, expect } from 'vitest'
import { test as base } from '../support/temp.js'

interface Project {
  store: BundleStore
  write(name: string, text: string): void
  read(name: string): string
  context(options?: esbuild.BuildOptions): Promise<esbuild.BuildContext>
}

const test = base.extend<{ project: Project }>({
  project: async ({ disk }, use) => {
    mkdirSync(join(disk, 'src'))
    const store = await openBundles(join(disk, '.warmswap/api'), { link: join(disk, 'dist') })
    const contexts: esbuild.BuildContext[] = []
    const project: Project = {
      store,
      write: (name, text) => writeFileSync(join(disk, 'src', name), text),
      read: (name) => readFileSync(join(disk, 'dist', name), 'utf8'),
      async context(options = {}) {
        const context = await esbuild.context({
          absWorkingDir: disk,
          entryPoints: ['src/main.ts'],
          outdir: 'dist',
          bundle: true,
          format: 'esm',
          logLevel: 'silent',
          plugins: [atomicOutdir({ store })],
          ...options,
        })
        contexts.push(context)
        return context
      },
    }
    project.write('main.ts', 'export const answer = "one"')
    await use(project)
    await Promise.all(contexts.map((context) => context.dispose()))
    await store.close()
  },
})

describe('atomicOutdir of warmswap/esbuild', () => {
  test('a build becomes a generation, and the outdir leads to it', async ({ project }) => {
    await (await project.context()).rebuild()
    expect(project.read('main.js')).toContain('"one"')
    expect(project.store.current()?.number).toBe(1)
  })

  test('bundles/failed-build-changes-nothing: a failed rebuild publishes nothing and deletes nothing; plain esbuild deletes its outputs', async ({
    project,
    disk,
  }) => {
    const context = await project.context()
    const plain = await project.context({ plugins: [], outdir: 'plain' })
    await Promise.all([context.rebuild(), plain.rebuild()])
    project.write('main.ts', 'export const = broken')

    await expect(context.rebuild()).rejects.toThrow('Expected identifier')
    await expect(plain.rebuild()).rejects.toThrow('Expected identifier')

    expect(project.read('main.js')).toContain('"one"')
    expect(project.store.current()?.number).toBe(1)
    expect(existsSync(join(disk, 'plain/main.js')), 'the trouble that this plugin is for is gone from esbuild').toBe(
      false,
    )
    expect(readdirSync(join(project.store.root, 'stage'))).toEqual([])
  })

  test('bundles/failed-build-changes-nothing: a cancelled rebuild publishes nothing and deletes nothing', async ({
    project,
  }) => {
    let answer = async (): Promise<string> => 'one'
    const hold: esbuild.Plugin = {
      name: 'hold',
      setup: (build) =>
        build.onLoad({ filter: /main\.ts$/ }, async () => ({ contents: `export const answer = "${await answer()}"` })),
    }
    const context = await project.context({ plugins: [atomicOutdir({ store: project.store }), hold] })
    await context.rebuild()
    const [loading, gate] = [deferred(), deferred()]
    answer = async () => {
      loading.resolve()
      await gate.promise
      return 'two'
    }
    const rebuild = context.rebuild().catch((error: esbuild.BuildFailure) => error.errors[0]?.text)
    await loading.promise
    const cancelled = context.cancel()
    // Asked after the cancellation, so esbuild has read that when it answers.
    await esbuild.transform('')
    gate.resolve()
    await cancelled

    expect(await rebuild).toContain('cancel')
    expect(project.read('main.js')).toContain('"one"')
    expect(project.store.current()?.number).toBe(1)
  })

  test('bundles/late-build-is-refused: of two builds the one that started first never wins by ending last (the nitro case)', async ({
    project,
  }) => {
    const gate = deferred()
    const loading = deferred()
    const source = (name: string, wait?: Promise<void>): esbuild.Plugin => ({
      name,
      setup: (build) =>
        build.onLoad({ filter: /main\.ts$/ }, async () => {
          loading.resolve()
          await wait
          return { contents: `export const answer = "${name}"` }
        }),
    })
    const older = await project.context({
      plugins: [atomicOutdir({ store: project.store }), source('older', gate.promise)],
    })
    const newer = await project.context({ plugins: [atomicOutdir({ store: project.store }), source('newer')] })
    const slow = older.rebuild()
    await loading.promise
    await newer.rebuild()
    gate.resolve()

    const { warnings } = await slow
    expect(warnings.map(({ text }) => text).join()).toContain('not published')
    expect(project.read('main.js')).toContain('"newer"')
  })

  test('required files, meta and executables', async ({ project, disk }) => {
    project.write('main.ts', '#!/usr/bin/env node\nconsole.log(1)')
    const context = await project.context({
      plugins: [atomicOutdir({ store: project.store, meta: ({ warnings }) => ({ warnings: warnings.length }) })],
    })
    await context.rebuild()
    expect(project.store.current()?.meta).toEqual({ warnings: 0 })
    expect(statSync(join(disk, 'dist/main.js')).mode & 0o111).toBe(0o111)

    const strict = await project.context({ plugins: [atomicOutdir({ store: project.store, require: ['missing.js'] })] })
    await expect(strict.rebuild()).rejects.toThrow('missing.js')
    expect(project.store.current()?.number).toBe(1)
  })

  test('watch publishes each rebuild', async ({ project }) => {
    const seen = [deferred(), deferred()]
    project.store.watch(({ number }) => seen[number - 1]?.resolve())
    const context = await project.context()
    await context.watch()
    await seen[0]?.promise
    project.write('main.ts', 'export const answer = "two"')
    await seen[1]?.promise
    expect(project.read('main.js')).toContain('"two"')
  })

  test('wrong options are refused by name', async ({ project }) => {
    expect(() => atomicOutdir({} as never)).toThrow(/options\.store/)
    expect(() => atomicOutdir({ store: project.store, outdir: 'dist' } as never)).toThrow(/options\.outdir/)
    await expect(
      esbuild.build({ entryPoints: [], plugins: [atomicOutdir({ store: project.store })], logLevel: 'silent' }),
    ).rejects.toThrow(/outdir or outfile/)
  })
})

function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  return { promise: new Promise<T>((yes) => (resolve = yes)), resolve }
}
