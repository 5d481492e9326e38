/**
 * An unexpected entry in place of a file of the protocol is an error within a second, or repaired. No call blocks, and
 * nothing outside the store is touched.
 */

// guarantee: bundles/wrong-kinds-are-errors

import { join } from 'node:path'
import { expect } from 'vitest'
import { start } from '../support/children.js'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'
import { isRoot } from '../support/users.js'

const program = join(repository, '__test__/programs/bundles-planted.mjs')

for (const kind of ['pipe', 'directory', 'link', 'device']) {
  const runs = kind !== 'device' || isRoot
  test.skipIf(!runs)(
    `a ${kind} in place of each file${runs ? '' : ' (NOT RUN: needs root for mknod)'}`,
    async ({ memory }) => {
      const child = start(process.execPath, [program, memory, kind], { cwd: repository })
      const ended = await child.ended
      expect(child.stderr()).toBe('')
      expect(ended.code).toBe(0)
      const seen = child.lines.map(
        (line) => JSON.parse(line) as { name: string; call: string; how: string; ms: number },
      )
      expect(new Set(seen.map(({ name }) => name)).size).toBe(27)
      expect(seen.filter(({ how, ms }) => !/^(ok|ERR_[A-Z_]+)$/.test(how) || ms > 1000)).toEqual([])
      expect(seen.filter(({ call, how }) => call === 'after' && how !== 'ok')).toEqual([])
    },
  )
}
