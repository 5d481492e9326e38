/** A local registry (verdaccio) for the packed tarballs. All other packages come from the registry of this machine, through it. */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
// @ts-expect-error: a script without types
import { ensureNpm } from '../../scripts/lib/setup.js'
import { reservePort } from '../../src/js/race-kit/ports.js'
import { repository } from './paths.js'

const run = promisify(execFile)

/** The node_modules folder with the registry and the package managers. */
export const tools: string = join(
  ensureNpm('install-tools', join(repository, '__test__/install/tools')),
  'node_modules',
)

export interface Registry {
  readonly url: string
  /** An npm configuration that may publish there. */
  readonly userconfig: string
  publish(tarball: string): Promise<void>
  stop(): Promise<void>
}

/** Starts an empty registry whose files are in `folder`. */
export async function startRegistry(folder: string): Promise<Registry> {
  const { stdout } = await run('npm', ['config', 'get', 'registry'])
  const port = await reservePort(Math.random)
  const url = `http://127.0.0.1:${port.number}/`
  const everybody = { access: '$all', publish: '$all', unpublish: '$all' }
  const config = {
    storage: join(folder, 'storage'),
    auth: { htpasswd: { file: join(folder, 'htpasswd') } },
    uplinks: { machine: { url: stdout.trim(), cache: true } },
    packages: { warmswap: everybody, 'warmswap-*': everybody, '**': { access: '$all', proxy: 'machine' } },
    max_body_size: '100mb',
    log: { type: 'stdout', format: 'json', level: 'error' },
  }
  // JSON is YAML.
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config))
  const server = spawn(
    process.execPath,
    [join(tools, 'verdaccio/bin/verdaccio'), '--config', join(folder, 'config.yaml'), '--listen', url],
    { stdio: 'ignore' },
  )
  await answers(`${url}-/ping`, () => server.exitCode === null)
  const npmrc = join(folder, 'npmrc')
  writeFileSync(npmrc, `registry=${url}\n//127.0.0.1:${port.number}/:_authToken=${await signUp(url)}\n`)
  return {
    url,
    userconfig: npmrc,
    publish: async (tarball) => void (await run('npm', ['publish', tarball, '--userconfig', npmrc, '--registry', url])),
    stop: async () => {
      if (server.kill('SIGKILL')) await once(server, 'exit')
      await port.release()
    },
  }
}

async function answers(url: string, isRunning: () => boolean): Promise<void> {
  while (isRunning()) {
    const answer = await fetch(url).catch(() => undefined)
    if (answer?.ok) return
    await sleep(50)
  }
  throw new Error('the registry ended before it answered')
}

/** npm publishes only with a token, even if the registry accepts everyone. */
async function signUp(url: string): Promise<string> {
  const user = { name: 'warmswap-test', password: 'warmswap-test-password' }
  const answer = await fetch(`${url}-/user/org.couchdb.user:${user.name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(user),
  })
  const { token } = (await answer.json()) as { token: string }
  return token
}
