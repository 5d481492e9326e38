import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { assert, fails, message, readTree, thread, until, warmswap, writeTree } from '../support.js'

const { acquireLock, inspectLock, prewarm, publishFenced, sweepLocks, tryLock, waitForLock, withLock } = warmswap

/** A child that holds a lock. */
async function holder(t, path, options) {
  const child = await t.child()
  await child.call('acquire', path, options)
  return child
}

export const cases = [
  [
    'acquireLock returns the path, a token and the mode',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      assert.equal(lock.path, t.path('a'))
      assert.ok(lock.token.length > 0)
      assert.equal(lock.mode, 'kernel')
      assert.equal(lock.tookOverFrom, null)
      lock.release()
    },
  ],
  [
    'release reports that the lock was released, also when it is called twice',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      assert.deepEqual(lock.release(), { released: true })
      lock.release()
      assert.notEqual(await tryLock(t.path('a')), null)
    },
  ],
  [
    'the directory of a lock exists while the lock is held',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      assert.ok(existsSync(t.path('a')))
      lock.release()
      assert.ok(!existsSync(t.path('a')))
    },
  ],
  [
    'the generation grows with each acquisition',
    async (t) => {
      const generations = []
      for (let index = 0; index < 5; index += 1) {
        const lock = await acquireLock(t.path('a'))
        generations.push(lock.generation)
        lock.release()
      }
      for (const [index, each] of generations.slice(1).entries()) assert.ok(each > generations[index], `${generations}`)
    },
  ],
  [
    'the generation grows over processes',
    async (t) => {
      const child = await t.child()
      const { generation } = await child.call('acquire', t.path('a'))
      await child.call('releaseAll')
      const lock = await acquireLock(t.path('a'))
      assert.ok(lock.generation > generation)
      lock.release()
    },
  ],
  [
    "the generation grows after the lock's directory was deleted",
    async (t) => {
      const first = await acquireLock(t.path('a'))
      first.release()
      rmSync(t.path('a'), { recursive: true, force: true })
      const second = await acquireLock(t.path('a'))
      assert.ok(second.generation > first.generation)
      second.release()
    },
  ],
  [
    'the directories above a lock are made',
    async (t) => {
      const lock = await acquireLock(t.path('one', 'two', 'a'))
      assert.ok(existsSync(t.path('one', 'two', 'a')))
      lock.release()
    },
  ],
  [
    'tryLock acquires a free lock',
    async (t) => {
      const lock = await tryLock(t.path('a'))
      assert.equal((await inspectLock(t.path('a'))).held, true)
      lock.release()
    },
  ],
  [
    'tryLock returns null while this process holds the lock',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      assert.equal(await tryLock(t.path('a')), null)
      lock.release()
    },
  ],
  [
    'tryLock returns null while another process holds the lock',
    async (t) => {
      await holder(t, t.path('a'))
      assert.equal(await tryLock(t.path('a')), null)
    },
  ],
  [
    'another process acquires the lock of this process after the release, not before',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      const child = await t.child()
      assert.equal(await child.call('tryLock', t.path('a')), false)
      lock.release()
      assert.equal(await child.call('tryLock', t.path('a')), true)
    },
  ],
  [
    'a timeout of 0 is one attempt',
    async (t) => {
      await holder(t, t.path('a'))
      await fails(acquireLock(t.path('a'), { timeoutMs: 0 }), 'ERR_LOCK_TIMEOUT')
    },
  ],
  [
    'ERR_LOCK_TIMEOUT names the holder',
    async (t) => {
      const child = await holder(t, t.path('a'))
      const error = await fails(acquireLock(t.path('a'), { timeoutMs: 20 }), 'ERR_LOCK_TIMEOUT')
      assert.equal(error.holder.pid, child.pid)
      assert.equal(error.retryable, true)
    },
  ],
  [
    'a waiter of this process acquires the lock after its release',
    async (t) => {
      const first = await acquireLock(t.path('a'))
      const waiting = acquireLock(t.path('a'))
      first.release()
      const second = await waiting
      assert.ok(second.generation > first.generation)
      second.release()
    },
  ],
  [
    'a waiter acquires the lock that another process releases',
    async (t) => {
      const child = await holder(t, t.path('a'))
      const waiting = acquireLock(t.path('a'), { onWait: () => void child.call('releaseAll') })
      const lock = await waiting
      assert.equal(lock.tookOverFrom, null)
      lock.release()
    },
  ],
  [
    'a waiter in another process acquires the lock that this process releases',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      const child = await t.child()
      const waiting = child.call('acquireAndReport', t.path('a'))
      const { liveness, holder: seen } = await child.event('waiting')
      assert.equal(liveness, 'alive')
      assert.equal(seen.pid, process.pid)
      lock.release()
      assert.ok((await waiting).generation > lock.generation)
    },
  ],
  [
    'inspectLock of a path that was never used',
    async (t) => {
      const { held, holder: seen, liveness } = await inspectLock(t.path('a'))
      assert.deepEqual([held, seen, liveness], [false, null, null])
      assert.deepEqual(readdirSync(t.dir), [])
    },
  ],
  [
    'inspectLock of a lock of this process',
    async (t) => {
      const lock = await acquireLock(t.path('a'), { metadata: { reason: 'test' } })
      const { held, holder: seen, liveness } = await inspectLock(t.path('a'))
      assert.deepEqual([held, seen.pid, liveness], [true, process.pid, 'alive'])
      assert.deepEqual(seen.metadata, { reason: 'test' })
      assert.equal(seen.generation, lock.generation)
      lock.release()
    },
  ],
  [
    'inspectLock of a lock of another process',
    async (t) => {
      const child = await holder(t, t.path('a'), { metadata: { port: 5173 } })
      const { held, holder: seen, liveness } = await inspectLock(t.path('a'))
      assert.deepEqual([held, seen.pid, liveness], [true, child.pid, 'alive'])
      assert.deepEqual(seen.metadata, { port: 5173 })
    },
  ],
  [
    'another process sees the progress of a holder',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      const child = await t.child()
      lock.progress('compiling')
      // The thread of the heartbeat writes it. The limit is for the platform in skips.js where it cannot.
      const isSeen = async () => (await child.call('inspect', t.path('a'))).holder.progress?.phase === 'compiling'
      await until(isSeen, 20_000)
      lock.release()
    },
  ],
  [
    'the lock of a killed process is acquired, and names the dead holder',
    async (t) => {
      const child = await holder(t, t.path('a'))
      await child.kill()
      const lock = await acquireLock(t.path('a'))
      assert.equal(lock.tookOverFrom.pid, child.pid)
      lock.release()
    },
  ],
  [
    'tryLock acquires the lock of a killed process',
    async (t) => {
      const child = await holder(t, t.path('a'))
      await child.kill()
      const lock = await tryLock(t.path('a'))
      assert.equal(lock.tookOverFrom.pid, child.pid)
      lock.release()
    },
  ],
  [
    'inspectLock reports a killed holder as dead',
    async (t) => {
      const child = await holder(t, t.path('a'))
      await child.kill()
      const { held, holder: seen, liveness } = await inspectLock(t.path('a'))
      assert.deepEqual([held, seen.pid, liveness], [false, child.pid, 'dead'])
    },
  ],
  [
    'a waiter acquires the lock when its holder is killed',
    async (t) => {
      const child = await holder(t, t.path('a'))
      const lock = await acquireLock(t.path('a'), { onWait: () => void child.kill() })
      assert.equal(lock.tookOverFrom.pid, child.pid)
      lock.release()
    },
  ],
  [
    'exactly one of three waiting processes acquires the lock of a killed holder',
    async (t) => {
      const child = await holder(t, t.path('a'))
      const waiters = await t.children(3)
      const acquired = waiters.map((waiter, index) => waiter.call('acquireAndReport', t.path('a')).then(() => index))
      await Promise.all(waiters.map((waiter) => waiter.event('waiting')))
      await child.kill()
      const order = []
      for (const _ of waiters) {
        const index = await Promise.race(acquired.filter((_, each) => !order.includes(each)))
        assert.equal((await inspectLock(t.path('a'))).holder.pid, waiters[index].pid)
        order.push(index)
        await waiters[index].call('releaseAll')
      }
      assert.deepEqual(order.toSorted(), [0, 1, 2])
    },
  ],
  [
    'a killed waiter does not keep the lock from others',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      const [first, second] = await t.children(2)
      first.call('acquireAndReport', t.path('a'))
      await first.event('waiting')
      const acquired = second.call('acquireAndReport', t.path('a'))
      await second.event('waiting')
      await first.kill()
      lock.release()
      await acquired
    },
  ],
  [
    'the lock of a process that ends without a release is acquired',
    async (t) => {
      const child = await holder(t, t.path('a'))
      await child.leave()
      const lock = await acquireLock(t.path('a'))
      lock.release()
    },
  ],
  [
    'the lock of a process that ends with an uncaught error is acquired',
    async (t) => {
      const child = await holder(t, t.path('a'))
      child.call('throw')
      assert.notEqual((await child.exited).code, 0)
      const lock = await acquireLock(t.path('a'))
      lock.release()
    },
  ],
  [
    'four processes that add to a number under a lock lose no addition',
    async (t) => {
      writeFileSync(t.path('number'), '0')
      const children = await t.children(4)
      await Promise.all(children.map((child) => child.call('increment', t.path('a'), t.path('number'), 10)))
      assert.equal(readFileSync(t.path('number'), 'utf8'), '40')
    },
  ],
  [
    'a killed process loses no addition of the others',
    async (t) => {
      writeFileSync(t.path('number'), '0')
      const [victim, ...others] = await t.children(3)
      const rest = others.map((child) => child.call('increment', t.path('a'), t.path('number'), 10))
      victim.call('increment', t.path('a'), t.path('number'), 10_000)
      let reported = 0
      for (; reported < 3; reported += 1) await victim.event('incremented')
      await victim.kill()
      await Promise.all(rest)
      assert.ok(Number(readFileSync(t.path('number'), 'utf8')) >= 20 + reported)
    },
  ],
  [
    'withLock returns the value of the task and releases the lock',
    async (t) => {
      assert.equal(await withLock(t.path('a'), (lock) => lock.path), t.path('a'))
      assert.equal((await inspectLock(t.path('a'))).held, false)
    },
  ],
  [
    'withLock releases the lock when the task fails',
    async (t) => {
      const error = new Error('of the task')
      await assert.rejects(
        withLock(t.path('a'), () => Promise.reject(error)),
        error,
      )
      assert.equal((await inspectLock(t.path('a'))).held, false)
    },
  ],
  [
    'a signal ends a wait with its reason',
    async (t) => {
      await holder(t, t.path('a'))
      const controller = new AbortController()
      const reason = new Error('no longer needed')
      const waiting = acquireLock(t.path('a'), { signal: controller.signal, onWait: () => controller.abort(reason) })
      await assert.rejects(waiting, reason)
    },
  ],
  [
    'a signal that was raised before the call acquires nothing',
    async (t) => {
      await assert.rejects(acquireLock(t.path('a'), { signal: AbortSignal.abort() }))
      assert.equal((await inspectLock(t.path('a'))).held, false)
    },
  ],
  [
    'waitForLock of a free lock does not wait',
    async (t) => {
      assert.equal((await waitForLock(t.path('a'))).orphaned, false)
      assert.ok(!existsSync(t.path('a')))
    },
  ],
  [
    'waitForLock resolves after the release by another process',
    async (t) => {
      const child = await holder(t, t.path('a'))
      const result = await waitForLock(t.path('a'), { onWait: () => void child.call('releaseAll') })
      assert.equal(result.orphaned, false)
      assert.equal((await inspectLock(t.path('a'))).held, false)
    },
  ],
  [
    'waitForLock reports that the holder died',
    async (t) => {
      const child = await holder(t, t.path('a'))
      const result = await waitForLock(t.path('a'), { onWait: () => child.kill() })
      assert.equal(result.orphaned, true)
    },
  ],
  [
    'metadata of more than 32 KiB is refused',
    async (t) => {
      await fails(
        acquireLock(t.path('a'), { metadata: { text: 'x'.repeat(40_000) } }),
        'ERR_TOO_LARGE',
        'ERR_INVALID_ARGUMENT',
      )
    },
  ],
  [
    'an ordinary folder is refused and not changed',
    async (t) => {
      const files = { 'package.json': '{}', 'src/index.js': 'export {}' }
      writeTree(t.path('project'), files)
      const error = await fails(acquireLock(t.path('project')), 'ERR_INVALID_ARGUMENT')
      assert.ok(error.message.includes('project.lock'), error.message)
      assert.deepEqual(readTree(t.path('project')), files)
      assert.match((await inspectLock(t.path('project'))).warning, /./)
    },
  ],
  [
    'a folder with a file of another program is waited for and not changed',
    async (t) => {
      mkdirSync(t.path('a'))
      writeFileSync(t.path('a', 'mine.txt'), 'mine')
      await fails(acquireLock(t.path('a'), { timeoutMs: 20 }), 'ERR_LOCK_TIMEOUT')
      assert.deepEqual(readdirSync(t.path('a')), ['mine.txt'])
    },
  ],
  [
    'an empty folder, which can be a lock of another program, is acquired after foreignStaleMs',
    async (t) => {
      mkdirSync(t.path('a'))
      const lock = await acquireLock(t.path('a'), { foreignStaleMs: 100 })
      assert.equal(lock.tookOverFrom.format, 'ownerless')
      lock.release()
    },
  ],
  [
    'a file is refused and not changed',
    async (t) => {
      writeFileSync(t.path('a'), 'mine')
      await fails(acquireLock(t.path('a')), 'ERR_INVALID_ARGUMENT')
      assert.equal(readFileSync(t.path('a'), 'utf8'), 'mine')
    },
  ],
  [
    'sweepLocks removes what a killed process left and keeps what a live one holds',
    async (t) => {
      const dead = await holder(t, t.path('dead'))
      await holder(t, t.path('live'))
      await dead.kill()
      const { removed, held } = await sweepLocks(t.dir)
      assert.ok(
        removed.some((path) => basename(path) === 'dead'),
        `${removed}`,
      )
      assert.deepEqual(
        held.map((path) => basename(path)),
        ['live'],
      )
      assert.ok(!existsSync(t.path('dead')))
      assert.equal(await tryLock(t.path('live')), null)
    },
  ],
  [
    'sweepLocks keeps folders and files of others',
    async (t) => {
      mkdirSync(t.path('folder'))
      writeFileSync(t.path('folder', 'mine.txt'), 'mine')
      writeFileSync(t.path('file'), 'mine')
      mkdirSync(t.path('empty'))
      await sweepLocks(t.dir)
      assert.deepEqual(readdirSync(t.dir).toSorted(), ['empty', 'file', 'folder'])
    },
  ],
  [
    'publish moves a file into its place while the lock is held',
    async (t) => {
      writeFileSync(t.path('new'), 'new')
      writeFileSync(t.path('old'), 'old')
      const lock = await acquireLock(t.path('a'))
      await lock.publish(t.path('new'), t.path('old'))
      lock.release()
      assert.equal(readFileSync(t.path('old'), 'utf8'), 'new')
      assert.ok(!existsSync(t.path('new')))
    },
  ],
  [
    'publish of a lock that was released is refused',
    async (t) => {
      writeFileSync(t.path('new'), 'new')
      const lock = await acquireLock(t.path('a'))
      lock.release()
      const next = await acquireLock(t.path('a'))
      await fails(lock.publish(t.path('new'), t.path('old')), 'ERR_FENCED', 'ERR_LOCK_LOST')
      assert.ok(!existsSync(t.path('old')))
      next.release()
    },
  ],
  [
    'publishFenced in another process works for the current generation',
    async (t) => {
      writeFileSync(t.path('new'), 'new')
      const lock = await acquireLock(t.path('a'))
      const child = await t.child()
      await child.call('publishFenced', { path: lock.path, generation: lock.generation }, t.path('new'), t.path('old'))
      assert.equal(readFileSync(t.path('old'), 'utf8'), 'new')
      lock.release()
    },
  ],
  [
    'publishFenced of a killed and replaced holder is refused',
    async (t) => {
      writeFileSync(t.path('new'), 'new')
      const child = await t.child()
      const { generation } = await child.call('acquire', t.path('a'))
      await child.kill()
      const lock = await acquireLock(t.path('a'))
      await fails(publishFenced({ path: t.path('a'), generation }, t.path('new'), t.path('old')), 'ERR_FENCED')
      assert.ok(!existsSync(t.path('old')))
      lock.release()
    },
  ],
  [
    'childEnv names the lock and its generation',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      const env = Object.values(lock.childEnv())
      assert.ok(env.includes(t.path('a')), `${env}`)
      assert.ok(env.some((value) => value === String(lock.generation) || value.endsWith(`${lock.generation}`)))
      lock.release()
    },
  ],
  [
    'with coverChildren a child that inherits the lock keeps it after the holder was killed',
    async (t) => {
      const child = await t.child()
      const covered = await child.call('cover', t.path('a'))
      t.after(() => process.kill(covered, 'SIGKILL'))
      await child.kill()
      assert.equal(await tryLock(t.path('a')), null)
      process.kill(covered, 'SIGKILL')
      const lock = await acquireLock(t.path('a'))
      lock.release()
    },
  ],
  [
    'without coverChildren a child does not keep the lock after the holder was killed',
    async (t) => {
      const child = await t.child()
      const started = await child.call('startSleeper', t.path('a'))
      t.after(() => process.kill(started, 'SIGKILL'))
      await child.kill()
      const lock = await acquireLock(t.path('a'))
      assert.equal(lock.tookOverFrom.pid, child.pid)
      lock.release()
    },
  ],
  [
    'prewarm runs once for many callers of one process',
    async (t) => {
      let runs = 0
      let value
      const job = {
        isReady: () => value,
        run: () => {
          runs += 1
          value = 'made'
          return value
        },
      }
      const results = await Promise.all(Array.from({ length: 8 }, () => prewarm(t.path('a'), job)))
      assert.equal(runs, 1)
      assert.equal(results.filter(({ role }) => role === 'ran').length, 1)
      assert.ok(results.every((each) => each.value === 'made'))
    },
  ],
  [
    'prewarm runs once over three processes',
    async (t) => {
      const children = await t.children(3)
      const results = await Promise.all(children.map((child) => child.call('prewarm', t.path('a'), t.path('file'))))
      assert.equal(results.filter(({ role }) => role === 'ran').length, 1)
      assert.equal(new Set(results.map(({ value }) => value)).size, 1)
    },
  ],
  [
    'one waiter runs a prewarm job again after its runner was killed',
    async (t) => {
      const [first, second, third] = await t.children(3)
      first.call('prewarm', t.path('a'), t.path('file'), { hang: true })
      await first.event('running')
      const rest = [second, third].map((child) => child.call('prewarm', t.path('a'), t.path('file')))
      await Promise.all([second, third].map((child) => child.event('waiting')))
      await first.kill()
      const results = await Promise.all(rest)
      assert.deepEqual(results.map(({ role }) => role).toSorted(), ['ran', 'reused'])
      assert.equal(results.find(({ role }) => role === 'ran').tookOverFrom.pid, first.pid)
    },
  ],
  [
    'prewarm does not run what is ready',
    async (t) => {
      const result = await prewarm(t.path('a'), { isReady: () => 'there', run: () => assert.fail('ran') })
      assert.deepEqual([result.value, result.role], ['there', 'reused'])
    },
  ],
  [
    'prewarm rejects with the error of the run and releases the lock',
    async (t) => {
      const error = new Error('of the run')
      const job = { isReady: () => undefined, run: () => Promise.reject(error) }
      await assert.rejects(prewarm(t.path('a'), job), error)
      assert.equal((await inspectLock(t.path('a'))).held, false)
    },
  ],
  [
    'the signal of a held lock is not raised, and assertHeld throws after the release',
    async (t) => {
      const lock = await acquireLock(t.path('a'))
      assert.equal(lock.signal.aborted, false)
      lock.assertHeld()
      lock.release()
      await fails(() => lock.assertHeld(), 'ERR_LOCK_LOST')
    },
  ],
  [
    'a lease excludes other processes',
    async (t) => {
      const lock = await acquireLock(t.path('a'), { mode: 'lease' })
      assert.equal(lock.mode, 'lease')
      const child = await t.child()
      assert.equal((await child.call('inspect', t.path('a'))).held, true)
      await fails(child.call('acquire', t.path('a'), { mode: 'lease', timeoutMs: 0 }), 'ERR_LOCK_TIMEOUT')
      lock.release()
      await child.call('acquire', t.path('a'), { mode: 'lease' })
    },
  ],
  [
    'the lease of a killed process is acquired before its time is up',
    async (t) => {
      const child = await holder(t, t.path('a'), { mode: 'lease', leaseTtlMs: 600_000 })
      await child.kill()
      const lock = await acquireLock(t.path('a'), { mode: 'lease', leaseTtlMs: 600_000 })
      assert.equal(lock.tookOverFrom.pid, child.pid)
      lock.release()
    },
  ],
  [
    'locks of two paths are independent',
    async (t) => {
      const locks = await Promise.all([acquireLock(t.path('a')), acquireLock(t.path('b'))])
      for (const lock of locks) assert.deepEqual(lock.release(), { released: true })
    },
  ],
  [
    'names with spaces, dots and letters beyond ASCII work over processes',
    async (t) => {
      for (const name of ['a b', 'ä.ö', '日本語', 'a.lock', '🔒']) {
        const lock = await acquireLock(t.path(name))
        assert.equal(await tryLock(t.path(name)), null)
        lock.release()
      }
      const child = await holder(t, t.path('日本語'))
      assert.equal((await inspectLock(t.path('日本語'))).holder.pid, child.pid)
    },
  ],
  [
    'a name of 200 letters works',
    async (t) => {
      const lock = await acquireLock(t.path('x'.repeat(200)))
      lock.release()
    },
  ],
  [
    'arguments that are not valid are refused',
    async (t) => {
      await fails(acquireLock(''), 'ERR_INVALID_ARGUMENT')
      await fails(acquireLock(42), 'ERR_INVALID_ARGUMENT')
      await fails(acquireLock(t.path('a'), { timeoutMs: -1 }), 'ERR_INVALID_ARGUMENT')
      await fails(acquireLock(t.path('a'), { mode: 'other' }), 'ERR_INVALID_ARGUMENT')
      assert.deepEqual(readdirSync(t.dir), [])
    },
  ],
  [
    'the lock of a worker thread is released when the worker ends',
    async (t) => {
      const worker = await thread(
        t,
        "await warmswap.acquireLock(workerData.dir + '/a'); port.postMessage('held'); setInterval(() => {}, 1000)",
      )
      assert.equal(await message(worker), 'held')
      assert.equal(await tryLock(t.path('a')), null)
      await worker.terminate()
      const lock = await acquireLock(t.path('a'))
      lock.release()
    },
  ],
  [
    'a hundred acquisitions one after the other leave one lock free',
    async (t) => {
      for (let index = 0; index < 100; index += 1) (await acquireLock(t.path('a'))).release()
      assert.equal((await inspectLock(t.path('a'))).held, false)
    },
  ],
  [
    'twenty callers of one process acquire the lock one at a time',
    async (t) => {
      let inside = 0
      let most = 0
      const task = async () => {
        inside += 1
        most = Math.max(most, inside)
        await new Promise((done) => setImmediate(done))
        inside -= 1
      }
      await Promise.all(Array.from({ length: 20 }, () => withLock(t.path('a'), task)))
      assert.equal(most, 1)
    },
  ],
  [
    'a mkdir-based lock of another program is respected until its folder is removed',
    async (t) => {
      mkdirSync(t.path('a'))
      writeFileSync(
        t.path('a', 'owner.json'),
        JSON.stringify({ pid: process.pid, createdAt: new Date().toISOString() }),
      )
      assert.equal(await tryLock(t.path('a')), null)
      rmSync(t.path('a'), { recursive: true })
      const lock = await until(() => tryLock(t.path('a')))
      lock.release()
    },
  ],
]
