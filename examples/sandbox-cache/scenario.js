// The report, step by step, the same for both methods. A method has restore(sandbox), snapshot(sandbox) and close().
import { createSandbox, siteModules } from './sandbox.js'

/** Time limit of a wake-up, after which it counts as hung. */
const PATIENCE_MS = 6_000

export async function play(server, { name, createWay }) {
  const way = await createWay({ endpoint: server.endpoint, prefix: name })
  const modules = siteModules()
  const few = new Map([...modules].slice(0, 3))
  const { line } = server
  const seen = {}

  /** A pod wakes up. Returns the result of its restore, and the state of its modules. `use` continues with it. */
  const wake = (step, use = () => {}) =>
    inSandbox(async (sandbox) => {
      const told = await timed(() => way.restore(sandbox))
      seen[step] = { ...told, modules: await sandbox.modulesOf(modules) }
      await use(sandbox)
    })
  /** The pod has these modules and makes a snapshot. */
  const snapshot = (step, contents) => async (sandbox) => {
    await sandbox.install(contents)
    seen[step] = await timed(() => way.snapshot(sandbox))
  }

  try {
    await wake('first wake-up', snapshot('snapshot when ready', modules))
    await wake('second wake-up')

    line.cutAfter('down', 4 << 20)
    await wake('outage during restore')
    line.mend()

    line.silentAfter('down', 4 << 20)
    await wake('stalled stream')
    line.mend()

    const more = new Map([...modules, ['npm/new.js', Buffer.from('new')]])
    await inSandbox(async (sandbox) => {
      line.cutAfter('up', 4 << 20)
      await snapshot('outage during snapshot', more)(sandbox)
      line.mend()
    })
    await wake('wake-up after that outage')

    await server.damage(name)
    await wake('damaged object', snapshot('snapshot over it', modules))
    await wake('wake-up after that')

    await inSandbox(snapshot('premature snapshot', few))
    await wake('wake-up after the few', snapshot('snapshot when ready again', modules))

    await inSandbox(snapshot('empty snapshot', new Map()))
    await wake('wake-up after the empty one')
    return seen
  } finally {
    line.mend()
    await way.close()
  }
}

async function inSandbox(work) {
  const sandbox = await createSandbox()
  try {
    await work(sandbox)
  } finally {
    await sandbox.remove()
  }
}

async function timed(call) {
  const started = performance.now()
  let timer
  const patience = new Promise((resolve) => (timer = setTimeout(resolve, PATIENCE_MS, 'hangs')))
  const outcome = await Promise.race([call(), patience])
  clearTimeout(timer)
  return { outcome, seconds: (performance.now() - started) / 1000 }
}
