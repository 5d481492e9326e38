// node examples/reload-server/server.js [folder]: serves src/handler.ts of a folder and reloads it on each edit.
import { watch } from 'node:fs'
import { createServer } from 'node:http'
import { join, resolve } from 'node:path'
import { createWay } from './ways/warmswap.js'

const folder = resolve(process.argv[2] ?? '.')
const way = await createWay(folder)
const change = () => way.change().catch((error) => console.error(`not reloaded: ${error.message}`))
await change()
watch(join(folder, 'src'), change)

const server = createServer()
way.attach(server)
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
