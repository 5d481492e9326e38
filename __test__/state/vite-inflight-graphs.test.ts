// @module-tag system
/** In-flight rescue and module graphs: entries that request their own server, entries with many URLs, linked environments. */

// guarantee: state/overtaken-requests-are-rescued

import type { DevEnvironment, PluginOption } from 'vite'
import { afterEach, describe, expect, test } from 'vitest'
import { resetState } from 'warmswap/state'
import * as plugins from 'warmswap/vite'
import { onStage, Signal, soon } from '../support/rescue-checks.js'
import { ENTRY, runnerOf, versions } from '../support/vite.js'

afterEach(() => resetState())

const HOUR_MS = 3_600_000

/** The plugins, with further ones after them. */
const together = (given: Parameters<typeof plugins.default>[0], ...others: PluginOption[]): typeof plugins =>
  ({
    ...plugins,
    default: (options) => [plugins.default({ ...options, ...given }), ...others],
  }) as typeof plugins

describe.each(versions)('$name', (version) => {
  test.each([
    ['', 'asks'],
    ['#!/usr/bin/env node\n// an entry\n"use strict";\n', 'asks'],
    ['', 'imports a module that asks'],
  ])('an entry that requests its own server is not waited for (it begins with %j, and %s)', async (head, how) => {
    const asks = 'export const config = await globalThis.__askOwnServer(import.meta.url)'
    const code: Record<string, string> = {
      '\0asking': `${head}${how === 'asks' ? asks : `export { config } from 'virtual:imported'`}`,
      '\0imported': asks,
    }
    let environment: DevEnvironment | undefined
    const entry: PluginOption = {
      name: 'fixture:entry',
      configureServer: (server) => {
        environment = server.environments.ssr
      },
      resolveId: (id) => (/^virtual:(asking|imported)$/.test(id) ? id.replace('virtual:', '\0') : undefined),
      load: (id) => code[id],
    }
    const stage = { plugins: together({}, entry), version, rescue: { readyMs: HOUR_MS } }
    await onStage(
      {
        ...stage,
        handler: async (request, response) => {
          if (request.url?.includes('config')) return response.end('configured')
          response.end((await runnerOf(environment).import<{ config: string }>('virtual:asking')).config)
        },
      },
      async ({ get, reoptimize }) => {
        let asked = 0
        Object.assign(globalThis, {
          __askOwnServer: async () => {
            asked += 1
            return (await get('/handler/config')).text()
          },
        })
        const page = async (): Promise<string> => (await soon(get('/handler/page'), 'a page')).text()
        expect(await page()).toBe('configured')
        await reoptimize()
        expect(await page()).toBe('configured')
        // Once in each graph: the wait was for the entry, and ended with it.
        expect(asked).toBe(2)
      },
    )
  })

  test('entries with a URL of their own leave one listener in the runner', async () => {
    await onStage({ plugins, version }, async ({ fixture, reoptimize, get }) => {
      for (let visit = 0; visit < 20; visit += 1) await fixture.runner.import(`${ENTRY}?visit=${visit}`)
      const answers: unknown[] = []
      fixture.ssr.hot.on('warmswap:ready', (number: unknown) => answers.push(number))
      const another = fixture.anotherRunner()
      await another.import(ENTRY)
      await reoptimize()
      await (await get('/nothing')).text()
      await soon(
        (async () => {
          while (answers.length < 2) await new Promise(setImmediate)
        })(),
        'an answer of each runner',
      )
      // One from each of the two runners.
      await new Promise(setImmediate)
      expect(answers).toEqual([1, 1])
    })
  })

  test('a reload that a link passes on overtakes requests too', async () => {
    const [entered, proceed] = [new Signal(), new Signal()]
    let count = 0
    const handler = async (_request: unknown, response: { end(text: string): unknown }): Promise<void> => {
      count += 1
      const isFirst = count === 1
      if (isFirst) {
        entered.give()
        await proceed.reached
      }
      response.end(isFirst ? 'of the old graph' : 'replayed')
    }
    const linked = together({ link: [{ from: 'client', to: ['ssr'] }] })
    await onStage({ plugins: linked, version, handler }, async ({ fixture, get }) => {
      const answer = get('/handler')
      await entered.reached
      // The client re-optimizes: that alone overtakes no request.
      const optimizer = fixture.server.environments.client?.depsOptimizer as NonNullable<
        DevEnvironment['depsOptimizer']
      >
      const { metadata } = optimizer
      const optimized = { dep: { id: 'dep', file: '/dep.js' } } as unknown as typeof metadata.optimized
      optimizer.metadata = { ...metadata, optimized }
      optimizer.metadata = { ...metadata, optimized, browserHash: 'another' }
      await new Promise(setImmediate)
      expect(fixture.reloads.ssr).toBe(1)
      proceed.give()
      expect(await (await answer).text()).toBe('replayed')
      optimizer.metadata = metadata
    })
  })
})
