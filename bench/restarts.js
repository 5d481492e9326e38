// Restarts against what dev servers and harnesses do today.
import { report } from './lib/report.js'
import { raceKitRows } from './restarts/race-kit.js'

report('restarts', raceKitRows())
