// @module-tag system
/** `warmswap/env-runner` below the RunnerManager of env-runner: reloads, failures, upgrades and messages. */

import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { RunnerManager } from 'env-runner'
import { expect } from 'vitest'
import { WarmswapEnvRunner, type WarmswapOptions, type WarmswapRunnerOptions } from 'warmswap/env-runner'
import { raw } from '../support/served.js'
import { test as base } from '../support/temp.js'

interface Project {
  manager: RunnerManager
  /** Replaces the whole output, as a build does. */
  write(version: number, entry?: string): void
  runner(options?: Partial<WarmswapRunnerOptions>, warmswap?: WarmswapOptions): WarmswapEnvRunner
  /** A new runner for the manager. Resolves once it serves. */
  reload(warmswap?: WarmswapOptions): Promise<void>
}

const ENTRY = `import { version } from './part.mjs'
let send
export default {
  async fetch(request) {
    if (request.url.endsWith('/exit')) process.exit(1)
    if (!request.url.endsWith('/stream')) return new Response(String(version))
    let count = 0
    return new Response(new ReadableStream({ async pull(controller) {
      if (count++ === 20) return controller.close()
      controller.enqueue(new TextEncoder().encode(version + ' '))
      await new Promise((resolve) => setTimeout(resolve, 10))
    } }))
  },
  upgrade({ node: { socket } }) {
    socket.end('HTTP/1.1 101 Switching Protocols\\r\\nconnection: upgrade\\r\\nupgrade: mine\\r\\n\\r\\nfrom ' + version)
  },
  ipc: {
    onOpen(context) { send = context.sendMessage },
    onMessage(message) {
      if (message.__rpc) send({ __rpc_id: message.__rpc_id, data: message.data + version })
    },
  },
}`

const test = base.extend<{ project: Project }>({
  project: async ({ memory }, use) => {
    const build = join(memory, 'build')
    const manager = new RunnerManager()
    const runners: WarmswapEnvRunner[] = []
    const project: Project = {
      manager,
      write(version, entry = ENTRY) {
        rmSync(build, { recursive: true, force: true })
        mkdirSync(build)
        writeFileSync(join(build, 'part.mjs'), `export const version = ${version}`)
        writeFileSync(join(build, 'app.mjs'), entry)
      },
      runner(options, warmswap) {
        const store = join(memory, 'store')
        const data = { entry: join(build, 'app.mjs') }
        const runner = new WarmswapEnvRunner({ name: 'app', data, warmswap: { store, ...warmswap }, ...options })
        runners.push(runner)
        return runner
      },
      async reload(warmswap) {
        const runner = project.runner({}, warmswap)
        await manager.reload(runner as never)
        await runner.waitForReady()
      },
    }
    await use(project)
    await manager.close()
    for (const runner of runners) await runner.close()
  },
})

test.for(['node-worker', 'node-process'] as const)(
  '%s: reloads of the manager lose no request and cut no stream',
  {
    timeout: 120_000,
  },
  async (runner, { project }) => {
    const { manager } = project
    project.write(1)
    await project.reload({ runner })
    let version = 1
    let isReloading = true
    const wrong: unknown[] = []
    let streams = 0
    const asking = [1, 2, 3, 4].map(async () => {
      while (isReloading) {
        const least = version
        const response = await manager.fetch('http://localhost/')
        const text = await response.text()
        if (response.status !== 200 || Number(text) < least) wrong.push([response.status, text, least])
      }
    })
    const streaming = [1, 2].map(async () => {
      while (isReloading) {
        const response = await manager.fetch('/stream')
        const parts = (await response.text()).trim().split(' ')
        streams += 1
        if (response.status !== 200 || parts.length !== 20 || new Set(parts).size !== 1) wrong.push(parts)
      }
    })
    for (let count = 0; count < (runner === 'node-worker' ? 8 : 3); count += 1) {
      project.write(version + 1)
      await project.reload({ runner })
      version += 1
    }
    isReloading = false
    await Promise.all([...asking, ...streaming])
    expect(wrong).toEqual([])
    expect(streams).toBeGreaterThan(0)
  },
)

test('a reload that cannot start leaves the worker before it serving, and the next one replaces it', async ({
  project,
}) => {
  project.write(1)
  await project.reload()
  project.write(2, "throw new Error('it does not start')")
  await expect(project.reload()).rejects.toMatchObject({ code: 'ERR_NOT_READY' })
  expect(await (await project.manager.fetch('/')).text()).toBe('1')
  project.write(3)
  await project.reload()
  expect(await (await project.manager.fetch('/')).text()).toBe('3')
})

test('a first runner that cannot start is closed with its error', async ({ project }) => {
  project.write(1, "throw new Error('it does not start')")
  const closed = new Promise((resolve) =>
    project
      .runner({ hooks: { onClose: (_runner, cause) => resolve(cause) } })
      .waitForReady()
      .catch(() => {}),
  )
  expect(await closed).toMatchObject({ code: 'ERR_NOT_READY' })
})

test('a worker that ends is one 502, and the next request gets a new one', async ({ project }) => {
  project.write(1)
  await project.reload()
  expect((await project.manager.fetch('/exit')).status).toBe(502)
  expect(await (await project.manager.fetch('/')).text()).toBe('1')
})

test('upgrades, messages and reloadModule() reach the worker that serves', async ({ project }) => {
  const { manager } = project
  project.write(1)
  await project.reload()
  expect(await manager.rpc('echo', 'v')).toBe('v1')
  const server = createServer().on('upgrade', (req, socket, head) =>
    manager.upgrade({ node: { req, socket, head } as never }),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const upgrade = 'GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n'
  expect(await raw(url, upgrade)).toMatch(/^HTTP\/1\.1 101 [\s\S]*from 1$/)
  project.write(2)
  await manager.reloadModule()
  expect(await raw(url, upgrade)).toMatch(/from 2$/)
  expect(await manager.rpc('echo', 'v')).toBe('v2')
  server.close()
})

test('runners whose names differ only in other characters have a store of their own', async ({ memory }) => {
  const before = process.cwd()
  process.chdir(memory)
  try {
    const runners = ['é', 'ü'].map((name) => {
      mkdirSync(name)
      writeFileSync(join(name, 'app.mjs'), `export default { fetch: () => new Response('${name}') }`)
      return new WarmswapEnvRunner({ name, data: { entry: join(memory, name, 'app.mjs') } })
    })
    for (const runner of runners) await runner.waitForReady()
    const answers = runners.map(async (runner) => await (await runner.fetch('/')).text())
    expect(await Promise.all(answers)).toEqual(['é', 'ü'])
    for (const runner of runners) await runner.close()
  } finally {
    process.chdir(before)
  }
})

test('options that cannot work are refused', ({ project, memory }) => {
  project.write(1)
  expect(() => project.runner({ name: 1 as never })).toThrow(/options\.name/)
  expect(() => project.runner({ name: '' })).toThrow(/options\.name/)
  expect(() => project.runner({}, { runner: 'deno' as never })).toThrow(/options\.warmswap\.runner.*deno-process/)
  expect(() => project.runner({ data: {} })).toThrow(/options\.data\.entry/)
  expect(() => project.runner({ listen: { port: 1 } })).toThrow(/no public address/)
  const directory = join(memory, 'elsewhere')
  expect(() => project.runner({ warmswap: { directory } })).toThrow(/options\.warmswap\.directory/)
})
