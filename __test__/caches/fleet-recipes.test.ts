// @module-tag system
// The recipes of docs/guide/fleet.md, run as they stand there: the step of the workflow, and the init container of two pods.
// A pod is a process in namespaces of its own: network, mounts, process ids and host name.
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Child, start } from '../support/children.js'
import { program } from '../support/cli.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const page = readFileSync(join(repository, 'docs/guide/fleet.md'), 'utf8')

/** The YAML below a heading of the page. */
function yamlBelow(heading: string): string {
  const [, section = ''] = page.split(`\n## ${heading}\n`)
  const [, yaml] = /```yaml\n([\s\S]*?)```/.exec(section) ?? []
  if (yaml === undefined) throw new Error(`no recipe '${heading}'`)
  return yaml
}

/** The script of the first step that runs something. */
function workflowScript(): string {
  const [, script = ''] = /run: \|\n([\s\S]*?)\n {6}- run:/.exec(yamlBelow('GitHub Actions')) ?? []
  // What GitHub puts there.
  return script.replaceAll(/\$\{\{ runner\.os \}\}/g, 'Linux')
}

/** The command of the init container: a list of plain scalars. */
function podCommand(): string[] {
  const [, list = ''] = /\n {10}command:\n([\s\S]*?)\n {6}containers:/.exec(yamlBelow('Kubernetes')) ?? []
  return list.split('\n').map((line) => line.replace(/^ {12}- /, ''))
}

/** A checkout whose installation writes one line to `builds`, and an `npx` that runs this warmswap. */
function makeCheckout(folder: string, builds: string, postinstall = ''): { cwd: string; env: Record<string, string> } {
  const cwd = join(folder, 'app')
  mkdirSync(join(folder, 'bin'), { recursive: true })
  mkdirSync(join(cwd, 'deps'), { recursive: true })
  const scripts = { postinstall: `mkdir -p node_modules && echo built >> '${builds}'${postinstall}` }
  writeFileSync(join(cwd, 'package.json'), JSON.stringify({ name: 'shop', version: '1.4.0', scripts }))
  const lock = {
    name: 'shop',
    version: '1.4.0',
    lockfileVersion: 3,
    packages: { '': { name: 'shop', version: '1.4.0' } },
  }
  writeFileSync(join(cwd, 'package-lock.json'), JSON.stringify(lock))
  writeFileSync(join(folder, 'bin/npx'), `#!/bin/sh\nshift\nexec '${process.execPath}' '${program}' "$@"\n`)
  chmodSync(join(folder, 'bin/npx'), 0o755)
  const quiet = { npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' }
  return { cwd, env: { ...quiet, npm_config_offline: 'true', PATH: `${join(folder, 'bin')}:${process.env.PATH}` } }
}

const linesOf = (file: string): string[] => readFileSync(file, 'utf8').split('\n').filter(Boolean)

test('fleet/one-build: the workflow of the guide installs once for all jobs of a matrix', { timeout: 60_000 }, async ({
  memory,
}) => {
  const builds = join(memory, 'builds')
  const jobs = [1, 2].map((shard) => {
    const { cwd, env } = makeCheckout(join(memory, `shard-${shard}`), builds)
    // The runner's checkout has no such folder.
    execFileSync('rmdir', [join(cwd, 'deps')])
    const store = `file://${join(memory, 'store')}`
    return {
      cwd,
      child: start('bash', ['-e', '-c', workflowScript()], { cwd, env: { ...env, WARMSWAP_STORE: store } }),
    }
  })
  const ends = await Promise.all(jobs.map(({ child }) => child.ended))
  const output = jobs.map(({ child }) => `${child.lines.join('\n')}\n${child.stderr()}`).join('\n---\n')
  expect(
    ends.map(({ code }) => code),
    output,
  ).toEqual([0, 0])
  expect(linesOf(builds)).toEqual(['built'])
  for (const { cwd } of jobs) expect(existsSync(join(cwd, 'node_modules/.')), output).toBe(true)
})

const BRIDGE = 'wswap-fleet'
const ADDRESS = '10.231.7.1'

/** Whether this user may make namespaces and links between them. */
const canMakePods = process.getuid?.() === 0 && spawnSync('ip', ['link', 'add', BRIDGE, 'type', 'bridge']).status === 0
if (canMakePods) execFileSync('ip', ['link', 'del', BRIDGE])
else console.warn('skipped: no network namespaces here, so the recipe for Kubernetes is not run')

describe.skipIf(!canMakePods)('two pods', { timeout: 60_000 }, () => {
  let server: FaultServer
  let forwarder: Server
  const ip = (...args: string[]): unknown => execFileSync('ip', args, { stdio: 'pipe' })
  const names = ['wswap-pod-1', 'wswap-pod-2']

  beforeAll(async () => {
    server = await startFaultServer()
    ip('link', 'add', BRIDGE, 'type', 'bridge')
    ip('addr', 'add', `${ADDRESS}/24`, 'dev', BRIDGE)
    ip('link', 'set', BRIDGE, 'up')
    for (const [index, name] of names.entries()) {
      ip('netns', 'add', name)
      ip('link', 'add', `wsw-host-${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
      ip('link', 'set', `wsw-host-${index}`, 'master', BRIDGE, 'up')
      ip('-n', name, 'addr', 'add', `10.231.7.${10 + index}/24`, 'dev', 'eth0')
      ip('-n', name, 'link', 'set', 'eth0', 'up')
    }
    const port = Number(new URL(server.endpoint).port)
    forwarder = createServer((socket) => {
      const upstream = connect(port, '127.0.0.1')
      socket.pipe(upstream).pipe(socket)
      socket.on('error', () => upstream.destroy())
      upstream.on('error', () => socket.destroy())
    })
    await new Promise<void>((resolve) => forwarder.listen(port, ADDRESS, resolve))
  })
  afterAll(async () => {
    for (const name of names) spawnSync('ip', ['netns', 'del', name])
    spawnSync('ip', ['link', 'del', BRIDGE])
    forwarder?.close()
    await server.stop()
  })

  /** The store of a test, as a pod reaches it. */
  function storeUrl(prefix: string): string {
    const { bucket, region } = server.store()
    const endpoint = server.endpoint.replace('127.0.0.1', ADDRESS)
    return `s3://${bucket}/${prefix.slice(1)}?region=${region}&endpoint=${encodeURIComponent(endpoint)}`
  }

  /** Starts the init container of a pod, with a volume of its own, and lists the volume at its end. */
  function startPod(name: string, folder: string, builds: string, options: string[] = [], postinstall = ''): Child {
    const { cwd, env } = makeCheckout(join(folder, name), builds, postinstall)
    const { accessKeyId, secretAccessKey } = server.store()
    const command = podCommand()
    command.splice(command.indexOf('--'), 0, ...options)
    const script = `hostname ${name} && mount -t tmpfs pod deps && "$@" && echo listing $(ls deps/tree)`
    const args = ['netns', 'exec', name, 'unshare', '--uts', '--pid', '--fork', '--mount', '--mount-proc']
    return start('ip', [...args, '--kill-child', 'sh', '-c', script, 'sh', ...command], {
      cwd,
      env: {
        ...env,
        WARMSWAP_STORE: storeUrl(folder),
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
      },
    })
  }

  const outputOf = (pods: Child[]): string =>
    pods.map((pod) => `${pod.lines.join('\n')}\n${pod.stderr()}`).join('\n---\n')

  test('fleet/one-build: the init container of the guide installs once for two pods', async ({ memory }) => {
    const builds = join(memory, 'builds')
    const pods = names.map((name) => startPod(name, memory, builds))
    const ends = await Promise.all(pods.map(({ ended }) => ended))
    expect(
      ends.map(({ code }) => code),
      outputOf(pods),
    ).toEqual([0, 0])
    expect(linesOf(builds)).toEqual(['built'])
    for (const pod of pods) expect(pod.lines.at(-1)).toMatch(/^listing .*package-lock\.json package\.json/)
    const roles = pods.map(({ lines }) => lines.find((line) => / in [\d.]+ m?s/.test(line))?.split(' ')[0])
    expect(roles.sort(), outputOf(pods)).toEqual(['built', 'restored'])
  })

  test('fleet/build-stops-in-time: a pod that loses its network stops its installation, another one takes over, and the first one continues alone', async ({
    memory,
  }) => {
    const builds = join(memory, 'builds')
    const options = ['--ttl-ms=2000']
    const cut = startPod(
      names[0] as string,
      memory,
      builds,
      options,
      ` && while [ ! -e '${memory}/go' ]; do sleep 0.1; done`,
    )
    await expect.poll(() => existsSync(builds) && linesOf(builds).length, { timeout: 20_000 }).toBe(1)
    ip('link', 'set', 'wsw-host-0', 'down')
    const other = startPod(names[1] as string, memory, builds, options)
    expect(await other.ended, outputOf([cut, other])).toMatchObject({ code: 0 })
    expect(
      other.lines.some((line) => line.startsWith('built in ')),
      outputOf([cut, other]),
    ).toBe(true)
    expect(cut.stderr()).toContain('the lease was lost; the command is stopped')
    // Without the store it builds for itself, and what the other pod has published stays.
    await expect.poll(() => cut.stderr(), { timeout: 20_000 }).toContain('building alone: the store cannot be used')
    writeFileSync(join(memory, 'go'), '')
    expect(await cut.ended, outputOf([cut, other])).toMatchObject({ code: 0 })
    expect(
      cut.lines.some((line) => line.startsWith('alone in ')),
      outputOf([cut, other]),
    ).toBe(true)
    expect(linesOf(builds)).toEqual(['built', 'built', 'built'])
    ip('link', 'set', 'wsw-host-0', 'up')
    const next = startPod(names[0] as string, join(memory, 'next'), builds, ['--store', storeUrl(memory)])
    expect(await next.ended, outputOf([next])).toMatchObject({ code: 0 })
    expect(
      next.lines.some((line) => line.startsWith('restored in ')),
      outputOf([next]),
    ).toBe(true)
  })
})
