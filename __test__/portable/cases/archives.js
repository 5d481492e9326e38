import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { assert, bytesOf, fails, noise, readTree, streamOf, tar, tarEntry, warmswap, writeTree } from '../support.js'

const { pack, unpack } = warmswap

const windows = process.platform === 'win32'
const tree = { 'a.txt': 'text', 'empty/': '', 'lib/b.txt': 'b', 'lib/deep/er/c.txt': 'c' }

/** A name as tarEntry() takes it: one letter for each byte. */
const utf8 = (name) => Buffer.from(name).toString('latin1')

async function outcomeOf(call) {
  const { outcome } = await call
  return outcome
}

export const cases = [
  [
    'what pack writes unpack reads',
    async (t) => {
      const result = await unpack(pack(writeTree(t.path('from'), tree)), t.path('into'))
      assert.equal(result.outcome, 'restored', result.reason)
      assert.equal(result.files, 3)
      assert.deepEqual(readTree(t.path('into')), tree)
    },
  ],
  ...['tar.zst', 'tar.gz', 'tar'].map((format) => [
    `an archive in the format ${format} is read from its path`,
    async (t) => {
      writeFileSync(t.path('archive'), await bytesOf(pack(writeTree(t.path('from'), tree), { format })))
      assert.equal(await outcomeOf(unpack(t.path('archive'), t.path('into'))), 'restored')
      assert.deepEqual(readTree(t.path('into')), tree)
    },
  ]),
  [
    'exclude leaves names out',
    async (t) => {
      const from = writeTree(t.path('from'), { ...tree, 'x.log': 'log', 'lib/y.log': 'log' })
      await unpack(pack(from, { exclude: ['*.log', 'lib/deep'] }), t.path('into'))
      assert.deepEqual(readTree(t.path('into')), { 'a.txt': 'text', 'empty/': '', 'lib/b.txt': 'b' })
    },
  ],
  [
    'a file of 8 MB has the same bytes',
    async (t) => {
      const bytes = noise(8_000_000)
      await unpack(pack(writeTree(t.path('from'), { big: bytes })), t.path('into'))
      assert.ok(readFileSync(t.path('into', 'big')).equals(bytes))
    },
  ],
  [
    'names with spaces and letters beyond ASCII',
    async (t) => {
      const files = { 'a b.txt': '1', 'ä/日本.txt': '2', [`${'x'.repeat(120)}/${'y'.repeat(120)}`]: '3' }
      await unpack(pack(writeTree(t.path('from'), files)), t.path('into'))
      assert.deepEqual(readTree(t.path('into')), files)
    },
  ],
  [
    'a symbolic link that stays in the tree is made',
    async (t) => {
      const archive = tar(tarEntry('a', { content: 'text' }), tarEntry('b', { type: '2', link: 'a' }))
      assert.equal(await outcomeOf(unpack(streamOf(archive), t.path('into'))), 'restored')
      assert.deepEqual(readTree(t.path('into')), { a: 'text', b: '-> a' })
    },
  ],
  [
    'a junction in the tree is packed as a relative link',
    async (t) => {
      const from = writeTree(t.path('from'), { 'store/a/file': 'text', 'modules/b': 'b' })
      // As pnpm makes them. A junction has an absolute path; other systems make a symbolic link.
      symlinkSync(windows ? join(from, 'store', 'a') : '../store/a', join(from, 'modules', 'a'), 'junction')
      const archive = await bytesOf(pack(from))
      rmSync(from, { recursive: true })
      assert.equal(await outcomeOf(unpack(streamOf(archive), t.path('into'))), 'restored')
      assert.equal(readFileSync(t.path('into', 'modules', 'a', 'file'), 'utf8'), 'text')
      assert.equal(realpathSync(t.path('into', 'modules', 'a')), realpathSync(t.path('into', 'store', 'a')))
    },
  ],
  [
    'two names that the filesystem treats as one are refused',
    async (t) => {
      for (const [index, [one, other]] of [
        ['a', 'A'],
        ['\u00e9', 'e\u0301'],
      ].entries()) {
        const into = t.path(`into-${index}`)
        writeTree(t.path(`probe-${index}`), { [one]: '' })
        const isOne = existsSync(t.path(`probe-${index}`, other))
        const archive = tar(tarEntry(utf8(one), { content: '1' }), tarEntry(utf8(other), { content: '2' }))
        const { outcome, reason } = await unpack(streamOf(archive), into)
        if (isOne) assert.ok(['refused', 'corrupt'].includes(outcome) && !existsSync(into), `${outcome}: ${reason}`)
        else assert.deepEqual(readTree(into), { [one]: '1', [other]: '2' })
      }
    },
  ],
  [
    'a link that leaves the tree only on Windows is refused there',
    async (t) => {
      for (const [index, link] of ['C:\\a', 'c:a', '\\a', '\\\\server\\share', '..\\..\\a', 'nul/a'].entries()) {
        const into = t.path(`into-${index}`)
        const { outcome, reason } = await unpack(streamOf(tar(tarEntry('b', { type: '2', link }))), into)
        assert.equal(outcome, windows ? 'refused' : 'restored', `${link}: ${reason}`)
        if (!windows) assert.deepEqual(readTree(into), { b: `-> ${link}` })
      }
    },
  ],
  ...[
    ['a name that leaves the target', tarEntry('../a', { content: 'x' })],
    ['an absolute name', tarEntry('/tmp/warmswap-portable-absolute', { content: 'x' })],
    ['a symbolic link that leaves the target', tarEntry('b', { type: '2', link: '../../a' })],
    ['an absolute symbolic link', tarEntry('b', { type: '2', link: '/etc/passwd' })],
    ['a hard link to a file outside', tarEntry('b', { type: '1', link: '../a' })],
  ].map(([name, entry]) => [
    `an archive with ${name} is refused whole`,
    async (t) => {
      const result = await unpack(streamOf(tar(tarEntry('ok', { content: 'ok' }), entry)), t.path('deep', 'er', 'into'))
      assert.ok(['refused', 'corrupt'].includes(result.outcome), `${result.outcome}: ${result.reason}`)
      assert.ok(!existsSync(t.path('deep', 'er', 'into')))
      assert.ok(!existsSync(t.path('deep', 'er', 'a')) && !existsSync(t.path('deep', 'a')))
    },
  ]),
  [
    'a link is never written through',
    async (t) => {
      mkdirSync(t.path('outside'))
      const archive = tar(tarEntry('d', { type: '2', link: '../outside' }), tarEntry('d/a', { content: 'x' }))
      const result = await unpack(streamOf(archive), t.path('into'), { symlinks: 'relative' })
      assert.notEqual(result.outcome, 'restored')
      assert.deepEqual(readdirSync(t.path('outside')), [])
    },
  ],
  [
    'the later of two entries with one name replaces the earlier one',
    async (t) => {
      const archive = tar(tarEntry('a', { content: 'first' }), tarEntry('a', { content: 'second' }))
      assert.equal(await outcomeOf(unpack(streamOf(archive), t.path('into'))), 'restored')
      assert.equal(readFileSync(t.path('into', 'a'), 'utf8'), 'second')
      const result = await unpack(streamOf(archive), t.path('other'), { duplicates: 'reject' })
      assert.equal(result.outcome, 'refused')
    },
  ],
  ...['tar.zst', 'tar.gz', 'tar'].map((format) => [
    `a ${format} that was cut off is corrupt, and the target is not made`,
    async (t) => {
      const bytes = await bytesOf(pack(writeTree(t.path('from'), { big: noise(300_000) }), { format }))
      const result = await unpack(streamOf(bytes.subarray(0, bytes.length - 2000)), t.path('into'))
      assert.equal(result.outcome, 'corrupt', result.reason)
      assert.ok(!existsSync(t.path('into')))
    },
  ]),
  [
    'bytes that are no archive are corrupt',
    async (t) => {
      assert.equal(await outcomeOf(unpack(streamOf(noise(5000)), t.path('into'))), 'corrupt')
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'an archive of another size than contentLength is corrupt',
    async (t) => {
      const bytes = await bytesOf(pack(writeTree(t.path('from'), tree)))
      const result = await unpack(streamOf(bytes), t.path('into'), { contentLength: bytes.length + 1 })
      assert.equal(result.outcome, 'corrupt')
      assert.equal(
        await outcomeOf(unpack(streamOf(bytes), t.path('into'), { contentLength: bytes.length })),
        'restored',
      )
    },
  ],
  [
    'an archive with more files or bytes than the limits is refused',
    async (t) => {
      const bytes = await bytesOf(pack(writeTree(t.path('from'), tree)))
      for (const limits of [{ maxFiles: 2 }, { maxBytes: 5 }, { maxFileBytes: 3 }])
        assert.equal(await outcomeOf(unpack(streamOf(bytes), t.path('into'), { limits })), 'refused')
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'a folder with files is not a target, unless the mode says so',
    async (t) => {
      const bytes = await bytesOf(pack(writeTree(t.path('from'), tree)))
      writeTree(t.path('into'), { mine: 'mine', 'a.txt': 'mine' })
      assert.equal(await outcomeOf(unpack(streamOf(bytes), t.path('into'))), 'target-not-empty')
      assert.equal(await outcomeOf(unpack(streamOf(bytes), t.path('into'), { mode: 'merge' })), 'restored')
      assert.deepEqual(readTree(t.path('into')), { ...tree, 'a.txt': 'mine', mine: 'mine' })
      assert.equal(await outcomeOf(unpack(streamOf(bytes), t.path('into'), { mode: 'replace' })), 'restored')
      assert.deepEqual(readTree(t.path('into')), tree)
    },
  ],
  [
    'a raised signal ends an unpack, and the target is not made',
    async (t) => {
      const bytes = await bytesOf(pack(writeTree(t.path('from'), tree)))
      const controller = new AbortController()
      async function* source() {
        yield bytes.subarray(0, 50)
        controller.abort()
        await new Promise(() => {})
      }
      assert.equal(await outcomeOf(unpack(source(), t.path('into'), { signal: controller.signal })), 'aborted')
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'a failing source ends an unpack, and the target is not made',
    async (t) => {
      const bytes = await bytesOf(pack(writeTree(t.path('from'), tree)))
      async function* source() {
        yield bytes.subarray(0, 50)
        throw new Error('of the source')
      }
      const result = await unpack(source(), t.path('into'))
      assert.equal(result.ok, false)
      assert.match(result.reason, /of the source/)
      assert.ok(!existsSync(t.path('into')))
    },
  ],
  [
    'strict throws instead of resolving with an outcome',
    async (t) => {
      await fails(unpack(streamOf(noise(5000)), t.path('into'), { strict: true }), 'ERR_GENERATION_CORRUPT')
    },
  ],
  [
    'a process killed while it unpacks leaves no target',
    async (t) => {
      writeFileSync(
        t.path('archive'),
        await bytesOf(pack(writeTree(t.path('from'), { big: noise(2_000_000), ...tree }))),
      )
      const child = await t.child()
      child.call('unpackPart', t.path('archive'), t.path('into'))
      await child.event('stalled')
      await child.kill()
      assert.ok(!existsSync(t.path('into')))
      assert.equal(await outcomeOf(unpack(t.path('archive'), t.path('into'))), 'restored')
      assert.equal(Object.keys(readTree(t.path('into'))).length, 5)
    },
  ],
  [
    'pack of a folder that does not exist fails',
    async (t) => {
      await assert.rejects(bytesOf(pack(t.path('nothing'))))
      await fails(async () => bytesOf(pack('')), 'ERR_INVALID_ARGUMENT')
    },
  ],
]
