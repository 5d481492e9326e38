/** Scopes: the values that a definition can see. */

import { invalidArgument } from '../native/errors.js'
import { dispose } from './dispose.js'
import { makeTable, type Realm, type Root, type Table } from './root.js'

/** How far a value is shared. 'isolate' is one per thread, over all vm contexts. */
export type StateScope = 'isolate' | 'realm' | 'test-file'

/**
 * Key of the current test file in this realm: `globalThis[TEST_FILE]` is a string that differs for each run of a test
 * file. `setup()` of warmswap/vitest sets it. If it is not set, scope 'test-file' means 'isolate'.
 */
export const TEST_FILE = Symbol.for('warmswap/test-file@1')

const REALM_TABLE = Symbol.for('warmswap/realm@1')

const here = globalThis as typeof globalThis & Realm & { [TEST_FILE]?: unknown; [REALM_TABLE]?: Table }

/** The table of a scope. */
export function tableOf(root: Root, scope: StateScope | undefined): Table {
  if (scope === undefined || scope === 'isolate') return root.isolate
  if (scope === 'realm') {
    here[REALM_TABLE] ??= makeTable(here)
    return here[REALM_TABLE]
  }
  if (scope === 'test-file') return testFileTable(root)
  throw invalidArgument('options.scope', scope, "'isolate', 'realm' or 'test-file'")
}

/** All tables that this realm can see, the narrowest first. */
export function visibleTables(root: Root): Table[] {
  return [...new Set([testFileTable(root), here[REALM_TABLE] ?? root.isolate, root.isolate])]
}

function testFileTable(root: Root): Table {
  const name = here[TEST_FILE]
  if (typeof name !== 'string') return root.isolate
  if (root.testFile?.name !== name) {
    const over = root.testFile
    root.testFile = { name, table: makeTable(here) }
    if (over !== undefined) disposeAll(over.table)
  }
  return root.testFile.table
}

/** The test file has ended: no caller waits for its values, so errors can only be reported. */
function disposeAll(table: Table): void {
  for (const [key, entry] of [...table.entries].reverse()) void dispose(table, key, entry)
}
