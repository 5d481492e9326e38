// The events of a busy half hour of a dev server, in half a minute: edits, reboots, failing builds, kills.
import { editsOf } from '../edits.js'

/** Runs until `signal` aborts. Returns how often each event happened, and the last revision. */
export async function makeTrouble({ app, port, startSecond, signal }) {
  const happened = { edits: 0, reboots: 0, failedBuilds: 0, buildersKilled: 0 }
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
  const every = async (ms, work) => {
    while (!signal.aborted) {
      await work()
      await pause(ms)
    }
  }

  const edits = editsOf(app)
  let revision = 1
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
    await pause(400)
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

  await Promise.all([every(80, edit), every(2500, rebootStorm), every(4000, failBuild), every(1000, killBuilder)])
  // The last edit compiles: it must be served at the end.
  await edit()
  return { happened, revision }
}
