/** Shared cells on the addon. What needs several threads is in threads.test.ts. */

// guarantee: state/cells-lose-no-write

import * as state from 'warmswap/state'
import { cellSuite } from './suites/cells.js'

cellSuite(state)
