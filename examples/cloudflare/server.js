// node server.js (Node 22 or later): the dev server of this example.
import { fileURLToPath } from 'node:url'
import { createServer } from 'vite'
import { install } from '../install.js'

const root = fileURLToPath(new URL('.', import.meta.url))
install(root)
process.chdir(root)
const server = await createServer({ root, configFile: `${root}/vite.config.js`, clearScreen: false })
await server.listen(Number(process.env.PORT ?? 5173))
console.log(`ready ${server.resolvedUrls.local[0]}`)
