/** Shared cells on the addon. What needs several threads is in threads.test.ts. */

import * as state from 'warmswap/state'
import { cellSuite } from './suites/cells.js'

cellSuite(state)
