// Restarts compared with today's dev servers and test harnesses.
import { report } from './lib/report.js'
import { coordinatorRows } from './restarts/coordinator.js'
import { httpRows } from './restarts/http.js'
import { raceKitRows } from './restarts/race-kit.js'
import { stormRows } from './restarts/storm.js'

report('restarts', [...(await coordinatorRows()), ...(await httpRows()), ...(await stormRows()), ...raceKitRows()])
