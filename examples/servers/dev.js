// node examples/servers/dev.js <folder> [--stop-first]: serves src/server.mjs of a folder, and reloads it on each edit.
import { watch } from 'node:fs'
import { createServer } from 'node:http'
import { join, resolve } from 'node:path'
import { openBundles, openCoordinator, startProcess } from 'warmswap'

const [folder, flag] = [resolve(process.argv[2]), process.argv[3]]
const store = await openBundles(join(folder, '.warmswap'))
const coordinator = openCoordinator(store, {
  start: (context) => startProcess(context, 'server.mjs', { listen: true, env: { DATA: folder } }),
  order: flag === '--stop-first' ? 'stop-first' : 'start-first',
  drain: 1_000,
  quietMs: 20,
})

async function reload() {
  const observed = coordinator.status().incarnation || null
  const { pin } = await coordinator.build({ atLeast: coordinator.change() }, ({ stage }) =>
    stage.adopt(join(folder, 'src')),
  )
  await coordinator.reboot({ observed, reason: 'an edit' }).finally(() => pin.release())
  console.log('reloaded')
}

const server = createServer()
coordinator.attach(server)
await reload()
watch(join(folder, 'src'), () => reload().catch((error) => console.error(`not reloaded: ${error.message}`)))
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
