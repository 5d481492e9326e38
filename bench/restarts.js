// Restarts against what dev servers and harnesses do today.
import { report } from './lib/report.js'
import { coordinatorRows } from './restarts/coordinator.js'
import { raceKitRows } from './restarts/race-kit.js'

report('restarts', [...(await coordinatorRows()), ...raceKitRows()])
