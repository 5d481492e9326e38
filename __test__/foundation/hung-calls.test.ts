// @module-tag system
// guarantee: library/one-mount-delays-only-itself

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const script = (name: string): string => join(repository, '__test__/programs', name)

/** How each of the twenty calls may end, at its limit of 500 ms. */
const KINDS: Record<string, string> = {
  inspect: 'ERR_TIMEOUT',
  'inspect in many folders': 'ERR_TIMEOUT',
  open: 'ERR_TIMEOUT',
  link: 'ERR_TIMEOUT',
  sweep: 'ERR_TIMEOUT',
  store: 'timeout',
  unpack: 'timeout',
  'unpack from': 'timeout',
  lock: 'ERR_LOCK_TIMEOUT',
  abort: 'TimeoutError',
}

let mounted: { path: string; server: ChildProcess } | undefined

afterEach(() => {
  // Without its server the connection is cut, and calls that hang end.
  mounted?.server.kill('SIGKILL')
  if (mounted !== undefined) spawnSync('umount', ['-l', mounted.path])
  mounted = undefined
})

/** A folder below which no call answers. */
async function hungFolder(path: string): Promise<string> {
  if (process.getuid?.() !== 0 || !existsSync('/dev/fuse'))
    throw new Error('this test needs root and /dev/fuse: it mounts a filesystem that does not answer')
  mkdirSync(path)
  const server = spawn('python3', [script('hung-mount.py'), path], { stdio: ['ignore', 'pipe', 'inherit'] })
  mounted = { path, server }
  await once(server.stdout, 'data')
  return path
}

function healthyFolder(disk: string): string {
  const path = join(disk, 'healthy')
  mkdirSync(path)
  return path
}

interface Told {
  ends: { how: string; ms: number }[]
  healthy: Record<string, number>
}

function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Told {
  const child = spawnSync(command, args, {
    cwd: repository,
    encoding: 'utf8',
    timeout: 30_000,
    killSignal: 'SIGKILL',
    env: { ...process.env, ...env },
  })
  expect([child.signal, child.stderr]).toEqual([null, ''])
  return JSON.parse(child.stdout)
}

function expectKept(told: Told, end: string): void {
  expect(told.ends.map(({ how }) => how)).toEqual(Array(20).fill(end))
  // 500 ms, the 3 s that a filesystem has for its first answer to a lock, and a busy machine.
  expect(Math.max(...told.ends.map(({ ms }) => ms))).toBeLessThan(6000)
  // Some milliseconds each; without the fix they would wait for seconds, or never end.
  for (const [what, ms] of Object.entries(told.healthy)) expect(ms, what).toBeLessThan(1000)
}

for (const [kind, end] of Object.entries(KINDS)) {
  test(`twenty calls that hang leave healthy work alone and keep their time: ${kind}`, async ({ disk }) => {
    const hung = await hungFolder(join(disk, 'hung'))
    expectKept(run(process.execPath, [script('hung-calls.mjs'), kind, hung, healthyFolder(disk)]), end)
  })
}

test('twenty calls that hang do not delay healthy work and keep their time: dns', async ({ disk }) => {
  if (process.getuid?.() !== 0) throw new Error('this test needs root: it makes a network whose name server is silent')
  const silent = `import socket, time
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(('127.0.0.1', 53))
time.sleep(60)`
  const inNetwork = `ip link set lo up
printf 'nameserver 127.0.0.1\\n' > "$1/resolv.conf"
mount --bind "$1/resolv.conf" /etc/resolv.conf
python3 -c "$2" & server=$!
sleep 0.3
"$3" "$4" dns nowhere "$1"
kill $server`
  const args = ['-n', '-m', 'bash', '-c', inNetwork, 'bash', disk, silent, process.execPath, script('hung-calls.mjs')]
  expectKept(run('unshare', args), 'timeout')
})

test('one pool for all filesystems would let a hung mount stop everything', { timeout: 60_000 }, async ({ disk }) => {
  const hung = await hungFolder(join(disk, 'hung'))
  const env = {
    WARMSWAP_MUTANT: 'workers-shared',
    NAPI_RS_NATIVE_LIBRARY_PATH: join(repository, 'build/testing/warmswap.linux-x64-gnu.node'),
  }
  expect(() =>
    expectKept(
      run(process.execPath, [script('hung-calls.mjs'), 'inspect', hung, healthyFolder(disk)], env),
      'ERR_TIMEOUT',
    ),
  ).toThrow(/publish|inspectLock/)
})
