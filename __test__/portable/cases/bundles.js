import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  assert,
  fails,
  message,
  noise,
  publish,
  readTree,
  thread,
  until,
  warmswap,
  windows,
  writeTree,
} from '../support.js'

const { bundleIgnores, openBundles } = warmswap

/** Publishes generations until there are `count` more. */
async function publishMany(store, count, from = 0) {
  let last
  for (let index = from; index < from + count; index += 1) last = await publish(store, { 'main.txt': `text ${index}` })
  return last
}

/** The numbers of the generations whose folders exist. */
const existing = async (store) => (await store.list()).map(({ number }) => number)

export const cases = [
  [
    'openBundles makes a store without a generation',
    async (t) => {
      const store = await t.store()
      assert.equal(store.current(), null)
      assert.deepEqual(await store.list(), [])
      assert.ok(isAbsolute(store.root) && existsSync(store.root))
      assert.ok(store.capabilities.filesystem.length > 0)
    },
  ],
  [
    'pin of a store without a generation',
    async (t) => {
      const store = await t.store()
      await fails(() => store.pin(), 'ERR_NO_GENERATION')
    },
  ],
  [
    'a published generation is the current one',
    async (t) => {
      const store = await t.store()
      const published = await publish(store, { 'main.txt': 'text', 'lib/a.txt': 'a' })
      const current = store.current()
      assert.equal(current.number, published.number)
      assert.deepEqual([current.files, current.bytes], [2, 5])
      assert.deepEqual(readTree(current.path), { 'lib/a.txt': 'a', 'main.txt': 'text' })
      assert.ok(Math.abs(Date.parse(current.publishedAt) - Date.now()) < 600_000)
    },
  ],
  [
    'a pointer that another system has written is read, and the next publish replaces it',
    async (t) => {
      const store = await t.store()
      await publish(store, { 'a.txt': 'one' })
      // Windows has a file with the text of the link.
      const pointer = t.path('store', 'current')
      const text = windows ? readFileSync(pointer, 'utf8') : readlinkSync(pointer)
      rmSync(pointer)
      if (windows) symlinkSync(text, pointer)
      else writeFileSync(pointer, text)
      const child = await t.child()
      assert.equal(await child.call('current', t.path('store')), 1)
      assert.equal(store.current().number, 1)
      assert.equal(await child.call('publish', t.path('store'), { 'a.txt': 'two' }), 2)
      assert.equal(lstatSync(pointer).isSymbolicLink(), !windows)
      assert.deepEqual(readTree(store.current().path), { 'a.txt': 'two' })
    },
  ],
  [
    'the numbers of generations grow',
    async (t) => {
      const store = await t.store()
      const numbers = []
      for (let index = 0; index < 4; index += 1) numbers.push((await publish(store, { a: `${index}` })).number)
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      )
      assert.equal(new Set(numbers).size, 4)
    },
  ],
  [
    'equal contents have equal digests, other contents have others',
    async (t) => {
      const store = await t.store()
      const first = await publish(store, { a: 'text' })
      const second = await publish(store, { a: 'text' })
      const third = await publish(store, { a: 'other' })
      assert.equal(first.digest, second.digest)
      assert.notEqual(first.digest, third.digest)
    },
  ],
  [
    'ifChanged keeps the current generation if the contents are equal',
    async (t) => {
      const store = await t.store()
      const first = await publish(store, { a: 'text' })
      const second = await publish(store, { a: 'text' }, { ifChanged: true })
      assert.deepEqual([second.number, second.changed], [first.number, false])
      assert.equal((await publish(store, { a: 'other' }, { ifChanged: true })).changed, true)
    },
  ],
  [
    'publish without a required file is refused, and the current generation stays',
    async (t) => {
      const store = await t.store()
      const first = await publish(store, { a: 'text' })
      await fails(publish(store, { b: 'text' }, { require: ['a'] }), 'ERR_MISSING_ENTRY')
      assert.equal(store.current().number, first.number)
    },
  ],
  [
    'publish of an empty stage is refused',
    async (t) => {
      const store = await t.store()
      await fails((await store.stage()).publish(), 'ERR_EMPTY_STAGE')
    },
  ],
  [
    'a stage is published once',
    async (t) => {
      const store = await t.store()
      const stage = await store.stage()
      await stage.write('a', 'text')
      await stage.publish()
      await fails(stage.publish(), 'ERR_STAGE_CLOSED')
      await fails(stage.write('b', 'text'), 'ERR_STAGE_CLOSED')
    },
  ],
  [
    'a discarded stage is removed',
    async (t) => {
      const store = await t.store()
      const stage = await store.stage()
      await stage.write('a', 'text')
      await stage.discard()
      assert.ok(!existsSync(stage.path))
      assert.equal(store.current(), null)
    },
  ],
  [
    'a stage from the current generation has its files, which stay as they are',
    async (t) => {
      const store = await t.store()
      const first = await publish(store, { a: 'text', 'lib/b': 'b' })
      const stage = await store.stage({ from: 'current' })
      assert.deepEqual(readTree(stage.path), { a: 'text', 'lib/b': 'b' })
      await stage.write('a', 'changed')
      const pin = store.pin({ generation: first.number })
      const second = await stage.publish()
      assert.equal(readFileSync(pin.resolve('a'), 'utf8'), 'text')
      assert.equal(readFileSync(join(second.path, 'a'), 'utf8'), 'changed')
      pin.release()
    },
  ],
  [
    'names that leave the stage are refused',
    async (t) => {
      const store = await t.store()
      const stage = await store.stage()
      for (const name of ['../a', 'a/../../b', t.path('absolute'), ''])
        await fails(stage.write(name, 'text'), 'ERR_INVALID_ARGUMENT')
      assert.deepEqual(readdirSync(stage.path), [])
      await stage.discard()
    },
  ],
  [
    'files that other tools write into the stage are published',
    async (t) => {
      const store = await t.store()
      const stage = await store.stage()
      writeTree(stage.path, { 'by-a-tool.txt': 'text', 'deep/er/file': 'x' })
      const { path } = await stage.publish()
      assert.deepEqual(readTree(path), { 'by-a-tool.txt': 'text', 'deep/er/file': 'x' })
    },
  ],
  [
    "writeAll takes esbuild's output files",
    async (t) => {
      const store = await t.store()
      const stage = await store.stage()
      const contents = new TextEncoder().encode('code')
      await stage.writeAll(
        [
          { path: t.path('out', 'a.js'), contents },
          { path: t.path('out', 'b', 'c.js'), contents },
        ],
        t.path('out'),
      )
      const { path } = await stage.publish()
      assert.deepEqual(readTree(path), { 'a.js': 'code', 'b/c.js': 'code' })
    },
  ],
  [
    'meta and fingerprint are kept',
    async (t) => {
      const store = await t.store()
      await publish(store, { a: 'text' }, { meta: { entry: 'a', list: [1, null] }, fingerprint: 'f1' })
      const child = await t.child()
      assert.equal(await child.call('current', t.path('store')), store.current().number)
      const reopened = await t.store()
      assert.deepEqual(reopened.current().meta, { entry: 'a', list: [1, null] })
      assert.equal(reopened.current().fingerprint, 'f1')
    },
  ],
  [
    'publish with another expected generation is refused',
    async (t) => {
      const store = await t.store()
      const first = await publish(store, { a: '1' })
      await publish(store, { a: '2' }, { expect: first.number })
      await fails(publish(store, { a: '3' }, { expect: first.number }), 'ERR_FENCED')
    },
  ],
  [
    'a fenced stage is refused once a later one was published',
    async (t) => {
      const store = await t.store()
      const [early, late] = [await store.stage({ fenced: true }), await store.stage({ fenced: true })]
      for (const stage of [early, late]) await stage.write('a', 'text')
      await late.publish()
      await fails(early.publish(), 'ERR_FENCED')
    },
  ],
  [
    'a file of 5 MB has the same bytes',
    async (t) => {
      const store = await t.store()
      const bytes = noise(5_000_000)
      const stage = await store.stage()
      await stage.write('big.bin', bytes)
      const { path } = await stage.publish()
      assert.ok(readFileSync(join(path, 'big.bin')).equals(bytes))
      assert.equal((await store.verify()).ok, true)
    },
  ],
  [
    'a tree of 300 files in folders is published whole',
    async (t) => {
      const store = await t.store()
      const files = Object.fromEntries(
        Array.from({ length: 300 }, (_, index) => [`d${index % 20}/f${index}.txt`, `${index}`]),
      )
      const stage = await store.stage()
      writeTree(stage.path, files)
      const published = await stage.publish()
      assert.equal(published.files, 300)
      assert.deepEqual(
        readTree(published.path),
        Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1))),
      )
    },
  ],
  [
    'names with spaces and letters beyond ASCII',
    async (t) => {
      const store = await t.store('ein Speicher ü')
      const { path } = await publish(store, { 'a b.txt': '1', 'ä/日本.txt': '2' })
      assert.deepEqual(readTree(path), { 'a b.txt': '1', 'ä/日本.txt': '2' })
      assert.equal((await store.verify()).ok, true)
    },
  ],
  [
    'a path of 300 letters below the generation',
    async (t) => {
      const store = await t.store()
      const name = `${Array.from({ length: 10 }, () => 'd'.repeat(30)).join('/')}/f`
      const { path } = await publish(store, { [name]: 'deep' })
      assert.equal(readFileSync(join(path, ...name.split('/')), 'utf8'), 'deep')
    },
  ],
  [
    'a pinned generation stays while others are published',
    async (t) => {
      const store = await t.store()
      await publish(store, { 'main.txt': 'first' })
      const pin = store.pin()
      await publishMany(store, 4)
      await store.collect()
      assert.equal(readFileSync(pin.resolve('main.txt'), 'utf8'), 'first')
      pin.release()
    },
  ],
  [
    'a released generation is collected',
    async (t) => {
      const store = await t.store()
      const { number } = await publish(store, { 'main.txt': 'first' })
      const pin = store.pin()
      await publishMany(store, 4)
      pin.release()
      await store.collect()
      assert.ok(!(await existing(store)).includes(number))
      assert.ok(!existsSync(pin.path))
    },
  ],
  [
    'collect reports what is pinned',
    async (t) => {
      const store = await t.store()
      const { number } = await publish(store, { 'main.txt': 'first' })
      const pin = store.pin()
      await publishMany(store, 3)
      assert.deepEqual((await store.collect()).pinned, [number])
      pin.release()
    },
  ],
  [
    'a module of a pinned generation is imported by its URL',
    async (t) => {
      const store = await t.store()
      await publish(store, { 'main.mjs': 'export const n = 1' })
      const pin = store.pin()
      assert.equal((await import(pin.url('main.mjs'))).n, 1)
      await publish(store, { 'main.mjs': 'export const n = 2' })
      const next = store.pin()
      assert.equal((await import(next.url('main.mjs'))).n, 2)
      pin.release()
      next.release()
    },
  ],
  [
    'a path that leaves the pinned generation is refused',
    async (t) => {
      const store = await t.store()
      await publish(store, { a: 'text' })
      const pin = store.pin()
      await fails(() => pin.resolve('../../format'), 'ERR_INVALID_ARGUMENT')
      await fails(() => pin.url('../a'), 'ERR_INVALID_ARGUMENT')
      pin.release()
      await fails(() => pin.resolve('a'), 'ERR_CLOSED')
    },
  ],
  [
    'isCurrent is false after the next publish',
    async (t) => {
      const store = await t.store()
      await publish(store, { a: '1' })
      const pin = store.pin()
      assert.equal(pin.isCurrent(), true)
      await publish(store, { a: '2' })
      assert.equal(pin.isCurrent(), false)
      pin.release()
    },
  ],
  [
    'an earlier generation is pinned by its number, an unknown one is not',
    async (t) => {
      const store = await t.store()
      const first = await publish(store, { a: '1' })
      await publish(store, { a: '2' })
      const pin = store.pin({ generation: first.number })
      assert.equal(readFileSync(pin.resolve('a'), 'utf8'), '1')
      pin.release()
      await fails(() => store.pin({ generation: 999 }), 'ERR_GENERATION_GONE')
    },
  ],
  [
    'rollback makes an earlier generation the current one',
    async (t) => {
      const store = await t.store()
      const first = await publish(store, { a: '1' })
      await publish(store, { a: '2' })
      const { number } = await store.rollback(first.number)
      assert.equal(store.current().number, number)
      assert.equal(readFileSync(join(store.current().path, 'a'), 'utf8'), '1')
      await fails(store.rollback(999), 'ERR_GENERATION_GONE')
    },
  ],
  [
    'keep is how many earlier generations stay',
    async (t) => {
      const store = await t.store('store', { keep: 2 })
      const { number } = await publishMany(store, 6)
      await store.collect()
      assert.deepEqual(await existing(store), [number - 2, number - 1, number])
    },
  ],
  [
    'graceMs keeps generations that nobody has pinned',
    async (t) => {
      const store = await t.store('store', { keep: 0, graceMs: 600_000 })
      const { number } = await publishMany(store, 3)
      await store.collect()
      assert.deepEqual(await existing(store), [number - 2, number - 1, number])
    },
  ],
  [
    'verify accepts what was published',
    async (t) => {
      const store = await t.store()
      await publish(store, { a: 'text', 'b/c': 'x' })
      assert.deepEqual(await store.verify(), { ok: true, problems: [] })
    },
  ],
  [
    'verify finds a changed, a missing and an extra file',
    async (t) => {
      const store = await t.store()
      const { number } = await publish(store, { a: 'text', b: 'text', c: 'text' })
      // A copy of its folder, as a tool that changes files in place would leave it.
      const { chmodSync, rmSync } = await import('node:fs')
      const path = store.current().path
      for (const each of [path, join(path, 'a'), join(path, 'b')]) chmodSync(each, 0o755)
      writeFileSync(join(path, 'a'), 'TEXT')
      rmSync(join(path, 'b'))
      writeFileSync(join(path, 'd'), 'extra')
      const { ok, problems } = await store.verify(number)
      assert.equal(ok, false)
      const found = problems.map((each) => [each.path, each.problem === 'mode' ? 'hash' : each.problem])
      for (const expected of [
        ['a', 'hash'],
        ['b', 'missing'],
        ['d', 'extra'],
      ])
        assert.ok(
          found.some((each) => each.join() === expected.join()),
          JSON.stringify(problems),
        )
    },
  ],
  [
    'a watcher hears of a publish of this process',
    async (t) => {
      const store = await t.store()
      const seen = new Promise((done) => {
        const watcher = store.watch(done)
        t.after(() => watcher[Symbol.dispose]?.())
      })
      const { number } = await publish(store, { a: '1' })
      assert.equal((await seen).number, number)
    },
  ],
  [
    'a watcher hears of a publish of another process',
    async (t) => {
      const store = await t.store()
      const seen = new Promise((done) => {
        const watcher = store.watch(done)
        t.after(() => watcher[Symbol.dispose]?.())
      })
      const child = await t.child()
      const number = await child.call('publish', t.path('store'), { a: '1' })
      // watch() does not keep a process alive.
      const alive = setInterval(() => {}, 1000)
      assert.equal((await seen).number, number)
      clearInterval(alive)
    },
  ],
  [
    'another process reads what this one publishes',
    async (t) => {
      const store = await t.store()
      const child = await t.child()
      assert.equal(await child.call('current', t.path('store')), null)
      const { number } = await publish(store, { a: '1' })
      assert.equal(await child.call('current', t.path('store')), number)
    },
  ],
  [
    'a pin of another process keeps its generation',
    async (t) => {
      const store = await t.store()
      const { number } = await publish(store, { 'main.txt': 'first' })
      const child = await t.child()
      const { path } = await child.call('pin', t.path('store'))
      await publishMany(store, 3)
      assert.deepEqual((await store.collect()).pinned, [number])
      assert.ok(existsSync(join(path, 'main.txt')))
      await child.call('unpin')
      await store.collect()
      assert.ok(!existsSync(path))
    },
  ],
  [
    'the pins of a killed process are released',
    async (t) => {
      const store = await t.store()
      await publish(store, { 'main.txt': 'first' })
      const child = await t.child()
      const { path } = await child.call('pin', t.path('store'))
      await publishMany(store, 3)
      await child.kill()
      await store.collect()
      assert.ok(!existsSync(path))
    },
  ],
  [
    'the pin of a worker thread is released when the worker ends',
    async (t) => {
      const store = await t.store()
      await publish(store, { 'main.txt': 'first' })
      const worker = await thread(
        t,
        "const store = await warmswap.openBundles(workerData.dir + '/store'); globalThis.pin = store.pin(); port.postMessage(globalThis.pin.path); setInterval(() => {}, 1000)",
      )
      const path = await message(worker)
      await publishMany(store, 3)
      assert.equal((await store.collect()).pinned.length, 1)
      await worker.terminate()
      // Deno's terminate() resolves before the thread has ended.
      await until(async () => {
        await store.collect()
        return !existsSync(path)
      })
    },
  ],
  [
    'the stage of a killed process is swept, and its files are never current',
    async (t) => {
      const store = await t.store()
      const child = await t.child()
      const path = await child.call('stage', t.path('store'), { a: 'half' })
      await child.kill()
      await publish(store, { a: 'whole' })
      await store.collect()
      assert.ok(!existsSync(path))
      assert.equal(readFileSync(join(store.current().path, 'a'), 'utf8'), 'whole')
    },
  ],
  [
    'the stage of a live process is not swept',
    async (t) => {
      const store = await t.store()
      const child = await t.child()
      const path = await child.call('stage', t.path('store'), { a: 'staged' })
      await publishMany(store, 3)
      await store.collect()
      assert.ok(existsSync(path))
      const number = await child.call('publishStage')
      assert.equal(store.current().number, number)
    },
  ],
  [
    'a process killed while it publishes leaves a complete generation',
    async (t) => {
      const children = await t.children(3)
      for (const [index, child] of children.entries()) {
        child.call('publishEndlessly', t.path('store'))
        for (let count = 0; count <= index * 2; count += 1) await child.event('published')
        await child.kill()
        const store = await openBundles(t.path('store'))
        assert.equal((await store.verify()).ok, true)
        const { 'a.txt': a, 'b.txt': b } = readTree(store.current().path)
        assert.equal(a, b)
        const before = store.current().number
        assert.ok((await publish(store, { 'a.txt': 'next', 'b.txt': 'next' })).number > before)
        await store.close()
      }
    },
  ],
  [
    'a process that reads during publishes never sees a torn generation',
    async (t) => {
      const store = await t.store()
      await publish(store, { 'a.txt': 'x', 'b.txt': 'x' })
      const child = await t.child()
      const reading = child.call('readEndlessly', t.path('store'))
      await child.event('read')
      for (let index = 0; index < 25; index += 1) {
        const { number } = await publish(store, { 'a.txt': `${index}`, 'b.txt': `${index}` })
        if (index % 8 === 0) await until(async () => (await child.event('read')) >= number)
      }
      await child.call('stop')
      const { torn, seen } = await reading
      assert.equal(torn, 0)
      assert.ok(seen > 1)
    },
  ],
  [
    'three processes publish at the same time, each with numbers of its own',
    async (t) => {
      const store = await t.store()
      const children = await t.children(3)
      const calls = children.flatMap((child) =>
        [1, 2, 3].map((index) => child.call('publish', t.path('store'), { a: `${index}` })),
      )
      const numbers = await Promise.all(calls)
      assert.equal(new Set(numbers).size, 9)
      assert.equal(store.current().number, Math.max(...numbers))
    },
  ],
  [
    'ensure builds once and reuses what was built',
    async (t) => {
      const store = await t.store()
      let builds = 0
      const build = async (stage) => {
        builds += 1
        await stage.write('built.txt', 'built')
      }
      const pins = await Promise.all([1, 2, 3].map(() => store.ensure(build, { fingerprint: 'f1' })))
      pins.push(await store.ensure(build, { fingerprint: 'f1' }))
      assert.equal(builds, 1)
      assert.equal(new Set(pins.map(({ generation }) => generation.number)).size, 1)
      for (const pin of pins) pin.release()
      ;(await store.ensure(build, { fingerprint: 'f2' })).release()
      assert.equal(builds, 2)
    },
  ],
  [
    'ensure builds once over three processes',
    async (t) => {
      const children = await t.children(3)
      let builds = 0
      for (const child of children)
        child.event('building').then(
          () => (builds += 1),
          () => {},
        )
      const numbers = await Promise.all(children.map((child) => child.call('ensure', t.path('store'), 'f1')))
      assert.equal(new Set(numbers).size, 1)
      assert.equal(builds, 1)
    },
  ],
  [
    'a waiter builds after the building process was killed',
    async (t) => {
      const [first, second] = await t.children(2)
      first.call('ensure', t.path('store'), 'f1', true)
      await first.event('building')
      const waiting = second.call('ensure', t.path('store'), 'f1')
      await first.kill()
      await second.event('building')
      const number = await waiting
      const store = await t.store()
      assert.equal(store.current().number, number)
      assert.equal((await store.verify()).ok, true)
    },
  ],
  [
    'a failed build leaves the current generation',
    async (t) => {
      const store = await t.store()
      const { number } = await publish(store, { a: '1' })
      const error = new Error('of the build')
      await assert.rejects(
        store.ensure(() => Promise.reject(error), { fingerprint: 'f1' }),
        error,
      )
      assert.equal(store.current().number, number)
    },
  ],
  ...['clone', 'copy'].map((how) => [
    `adopt with '${how}' takes a folder over and leaves it as it is`,
    async (t) => {
      const files = { a: 'text', 'lib/b': 'b' }
      writeTree(t.path('source'), files)
      const store = await t.store()
      const stage = await store.stage()
      await stage.adopt(t.path('source'), how)
      const { path } = await stage.publish()
      assert.deepEqual(readTree(path), files)
      assert.deepEqual(readTree(t.path('source')), files)
      writeFileSync(t.path('source', 'a'), 'changed later')
      assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'text')
    },
  ]),
  [
    "adopt with 'move' empties the folder",
    async (t) => {
      const files = { a: 'text', 'lib/b': 'b' }
      writeTree(t.path('source'), files)
      const store = await t.store()
      const stage = await store.stage()
      await stage.adopt(t.path('source'), 'move')
      const { path } = await stage.publish()
      assert.deepEqual(readTree(path), files)
      assert.ok(!existsSync(t.path('source', 'a')))
    },
  ],
  [
    'adopt of a folder that does not exist is refused',
    async (t) => {
      const store = await t.store()
      const stage = await store.stage()
      await fails(stage.adopt(t.path('nothing')), 'ERR_IO', 'ERR_INVALID_ARGUMENT')
      await stage.discard()
    },
  ],
  [
    'a symbolic link is kept as it is',
    async (t) => {
      const store = await t.store()
      const stage = await store.stage()
      await stage.write('a', 'text')
      await stage.symlink('b', 'a')
      const { path } = await stage.publish()
      assert.deepEqual(readTree(path), { a: 'text', b: '-> a' })
      assert.equal((await store.verify()).ok, true)
    },
  ],
  [
    'the option link makes a path that has the current files',
    async (t) => {
      const store = await t.store('store', { link: t.path('dist') })
      await publish(store, { a: '1' })
      assert.equal(readFileSync(t.path('dist', 'a'), 'utf8'), '1')
      await publish(store, { a: '2' })
      assert.equal(readFileSync(t.path('dist', 'a'), 'utf8'), '2')
    },
  ],
  [
    'the option link refuses a folder with files and keeps it',
    async (t) => {
      writeTree(t.path('dist'), { mine: 'mine' })
      await fails(openBundles(t.path('store'), { link: t.path('dist') }), 'ERR_INVALID_ARGUMENT')
      assert.deepEqual(readTree(t.path('dist')), { mine: 'mine' })
    },
  ],
  [
    'a folder with files is refused as a store and not changed',
    async (t) => {
      writeTree(t.path('project'), { 'package.json': '{}', 'src/a.js': '' })
      await fails(openBundles(t.path('project')), 'ERR_INVALID_ARGUMENT', 'ERR_FORMAT')
      assert.deepEqual(readTree(t.path('project')), { 'package.json': '{}', 'src/a.js': '' })
    },
  ],
  [
    'a file is refused as a store and not changed',
    async (t) => {
      writeFileSync(t.path('file'), 'mine')
      await fails(openBundles(t.path('file')), 'ERR_INVALID_ARGUMENT', 'ERR_FORMAT', 'ERR_IO')
      assert.equal(readFileSync(t.path('file'), 'utf8'), 'mine')
    },
  ],
  [
    'an empty folder becomes a store',
    async (t) => {
      mkdirSync(t.path('store'))
      const store = await t.store()
      await publish(store, { a: '1' })
      assert.equal(store.current().files, 1)
    },
  ],
  [
    'calls on a closed store are refused',
    async (t) => {
      const store = await t.store()
      await store.close()
      await fails(store.stage(), 'ERR_CLOSED')
      await fails(() => store.current(), 'ERR_CLOSED')
      await store.close()
    },
  ],
  [
    'a reopened store has the same generations',
    async (t) => {
      const store = await t.store()
      await publishMany(store, 2)
      const before = (await store.list()).map(({ number, digest }) => [number, digest])
      await store.close()
      const again = await t.store()
      assert.deepEqual(
        (await again.list()).map(({ number, digest }) => [number, digest]),
        before,
      )
      assert.equal((await publish(again, { a: 'x' })).number, before.at(-1)[0] + 1)
    },
  ],
  [
    'two stores have generations of their own',
    async (t) => {
      const [one, other] = [await t.store('one'), await t.store('other')]
      await publish(one, { a: '1' })
      assert.equal(other.current(), null)
    },
  ],
  [
    'a second open of a store in one process sees the same generations',
    async (t) => {
      const [one, other] = [await t.store(), await t.store()]
      const { number } = await publish(one, { a: '1' })
      assert.equal(other.current().number, number)
      const pin = other.pin()
      await publishMany(one, 3)
      await one.collect()
      assert.ok(existsSync(pin.resolve('a')))
      pin.release()
    },
  ],
  [
    'a raised signal ends a stage call',
    async (t) => {
      const store = await t.store()
      await assert.rejects(store.stage({ signal: AbortSignal.abort() }))
      await fails(store.stage({ timeoutMs: -1 }), 'ERR_INVALID_ARGUMENT')
    },
  ],
  [
    'arguments that are not valid are refused',
    async () => {
      await fails(openBundles(''), 'ERR_INVALID_ARGUMENT')
      await fails(openBundles(pathToFileURL('/x')), 'ERR_INVALID_ARGUMENT')
    },
  ],
  [
    'bundleIgnores has patterns for watchers',
    async (t) => {
      const store = await t.store()
      const patterns = bundleIgnores(store.root)
      assert.ok(patterns.length > 0 && patterns.every((each) => typeof each === 'string'))
    },
  ],
]
