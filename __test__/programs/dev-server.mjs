// node dev-server.mjs ROOT [VITE]: the dev server of an application, with the Vite of that name. Prints its address.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [root, name = 'vite'] = process.argv.slice(2)
process.chdir(root)
const { createServer } = await import(
  pathToFileURL(join(createRequire(import.meta.url).resolve(`${name}/package.json`), '../dist/node/index.js')).href
)
const server = await createServer({ root, configFile: join(root, 'vite.config.js'), clearScreen: false })
await server.listen(0)
console.log(`ready ${server.resolvedUrls.local[0]}`)
