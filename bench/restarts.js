// Restarts compared with today's dev servers and test harnesses.
import { report } from './lib/report.js'
import { coordinatorRows } from './restarts/coordinator.js'
import { raceKitRows } from './restarts/race-kit.js'

report('restarts', [...(await coordinatorRows()), ...raceKitRows()])
