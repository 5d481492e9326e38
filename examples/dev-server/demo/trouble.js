// What happens to a dev server in a busy half hour, in half a minute: edits, reboots, failing builds, kills.
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Runs until `signal`; returns how often each trouble happened. */
export async function makeTrouble({ app, port, startSecond, signal }) {
  const happened = { edits: 0, reboots: 0, failedBuilds: 0, buildersKilled: 0 }
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
  const every = async (ms, work) => {
    while (!signal.aborted) {
      await work()
      await pause(ms)
    }
  }

  // An editor saves by rename, so that nobody reads half a file.
  const save = async (file, text) => {
    await writeFile(`${file}.saving`, text)
    await rename(`${file}.saving`, file)
  }
  let revision = 1
  const edit = async () => {
    await save(join(app, 'src/revision.txt'), `${++revision}\n`)
    happened.edits += 1
  }
  const rebootStorm = async () => {
    await Promise.allSettled(Array.from({ length: 10 }, () => fetch(`http://127.0.0.1:${port}/__reboot`)))
    happened.reboots += 10
  }
  const failBuild = async () => {
    const file = join(app, 'src/routes/page.ts')
    const good = await readFile(file, 'utf8')
    await save(file, `${good}\nthis does not compile`)
    await pause(400)
    await save(file, good)
    happened.failedBuilds += 1
  }
  const killBuilder = async () => {
    const second = startSecond()
    // It may find that its build was made already, or not start at all while the sources do not compile.
    await Promise.race([second.next('building').catch(() => {}), pause(2500)])
    await second.kill('SIGKILL')
    happened.buildersKilled += 1
  }

  await Promise.all([every(80, edit), every(2500, rebootStorm), every(4000, failBuild), every(1000, killBuilder)])
  // The last word is an edit that compiles: what is served at the end must be it.
  await edit()
  return { happened, revision }
}
