// The events of a busy half hour of a dev server, in half a minute: edits, reboots, failing builds, kills.
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { editsOf } from '../edits.js'

const LEAST_EDIT_MS = 250

/**
 * Time in milliseconds between two edits: twice as long as an edit takes until it is served. Every method then has the
 * time to serve an edit before the next one, also on a slow machine. Measured under the load, as the median of three.
 */
export async function timeBetweenEdits({ app, server }) {
  const edits = editsOf(app)
  const times = []
  for (let round = 0; round < 3; round += 1) {
    const began = performance.now()
    const revision = await edits.edit()
    while (server.published < revision) await once(server, 'published')
    times.push(performance.now() - began)
  }
  const [, median] = times.sort((one, other) => one - other)
  return Math.max(LEAST_EDIT_MS, Math.round(2 * median))
}

/** Runs until `signal` aborts. Returns how often each event happened, and the last revision. */
export async function makeTrouble({ app, port, startSecond, editMs, signal }) {
  const happened = { edits: 0, reboots: 0, failedBuilds: 0, buildersKilled: 0 }
  const pause = (ms) => setTimeout(ms, undefined, { signal }).catch(() => {})
  const every = async (ms, work) => {
    while (!signal.aborted) {
      await work()
      await pause(ms)
    }
  }

  const edits = editsOf(app)
  let revision = 0
  const edit = async () => {
    revision = await edits.edit()
    happened.edits += 1
  }
  const rebootStorm = async () => {
    await Promise.allSettled(Array.from({ length: 10 }, () => fetch(`http://127.0.0.1:${port}/__reboot`)))
    happened.reboots += 10
  }
  const failBuild = async () => {
    await edits.breakBuild()
    await pause(editMs)
    await edits.fixBuild()
    happened.failedBuilds += 1
  }
  const killBuilder = async () => {
    const second = startSecond()
    // It may find that its build already exists, or not start at all while the sources do not compile.
    await Promise.race([second.next('building').catch(() => {}), pause(2500)])
    await second.kill('SIGKILL')
    happened.buildersKilled += 1
  }

  // In proportion to the edits: today's method repairs a build that a killed process left at the next edit only. The
  // first two edits have the server for themselves.
  const after = (ms, work) => pause(ms).then(work)
  await Promise.all([
    every(editMs, edit),
    after(2 * editMs, () => every(6 * editMs, killBuilder)),
    after(2 * editMs, () => every(10 * editMs, rebootStorm)),
    after(2 * editMs, () => every(16 * editMs, failBuild)),
  ])
  // The last edit compiles: it must be served at the end.
  await edit()
  return { happened, revision }
}
