// The user's function, and the files that its dev server puts next to it.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export async function createProject() {
  const root = await mkdtemp(join(tmpdir(), 'sst-reload-'))
  await mkdir(join(root, 'src'))
  await mkdir(join(root, 'node_modules/greeting'), { recursive: true })
  await writeFile(join(root, 'node_modules/greeting/package.json'), '{ "name": "greeting", "main": "index.js" }')
  await writeFile(join(root, 'node_modules/greeting/index.js'), "module.exports = 'hello'")
  const project = {
    root,
    entry: join(root, 'src/handler.ts'),
    modules: join(root, 'node_modules'),
    edit: (revision) =>
      writeFile(
        project.entry,
        `import greeting from 'greeting'\nexport const handler = (): string => greeting + ' ' + ${revision}\n`,
      ),
    breakIt: () => writeFile(project.entry, 'export const handler = ('),
    remove: () => rm(root, { recursive: true, force: true }),
  }
  await project.edit(1)
  return project
}

/** Options of esbuild for both methods. */
export const esbuildOptions = ({ root, entry }) => ({
  absWorkingDir: root,
  entryPoints: { bundle: entry },
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  platform: 'node',
  external: ['greeting'],
  logLevel: 'silent',
})

/** The resources that sst encrypts into the bundle. */
export const resources = 'encrypted resources'

/** The folder in which a worker of the function starts. It is `cwd` and contains `bundle.mjs`. */
export const runtime = `
const { pathToFileURL } = await import('node:url')
const { join } = await import('node:path')
const send = async () => {
  try {
    const { handler } = await import(pathToFileURL(join(process.cwd(), 'bundle.mjs')))
    process.stdout.write(JSON.stringify({ answer: handler(), cwd: process.cwd() }) + '\\n')
  } catch (error) {
    process.stdout.write(JSON.stringify({ error: error.code ?? error.message }) + '\\n')
  }
}
process.stdin.on('data', send).on('end', () => process.exit(0))
process.stdout.write(JSON.stringify({ started: true }) + '\\n')
`
