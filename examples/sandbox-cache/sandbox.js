// A sandbox: the root of a pod's filesystem, in which the image has created an empty /deno-dir.
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

/** The modules of a site: many small files and some large ones, as path → bytes. */
export function siteModules() {
  const modules = new Map()
  for (let index = 0; index < 300; index += 1)
    modules.set(
      `npm/package-${index % 30}/${index}.js`,
      Buffer.from(`export default '${randomBytes(500).toString('hex')}'\n`),
    )
  for (let index = 0; index < 4; index += 1) modules.set(`npm/native-${index}/addon.node`, randomBytes(4 << 20))
  return modules
}

export async function createSandbox() {
  const root = await mkdtemp(join(tmpdir(), 'sandbox-'))
  const denoDir = join(root, 'deno-dir')
  await mkdir(denoDir)
  return {
    root,
    denoDir,
    async install(modules) {
      for (const [path, bytes] of modules) {
        await mkdir(join(denoDir, path, '..'), { recursive: true })
        await writeFile(join(denoDir, path), bytes)
      }
    },
    /** 'all', 'none', or how many of the modules exist and how many of those are torn. */
    async modulesOf(modules) {
      const found = (await readdir(denoDir, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
      if (found.length === 0) return 'none'
      const torn = []
      for (const entry of found) {
        const path = join(entry.parentPath, entry.name)
        const wanted = modules.get(relative(denoDir, path))
        if (wanted === undefined || hash(await readFile(path)) !== hash(wanted)) torn.push(path)
      }
      if (found.length === modules.size && torn.length === 0) return 'all'
      return `${found.length} of ${modules.size}${torn.length === 0 ? '' : `, ${torn.length} torn`}`
    },
    /**
     * Retries while another process writes: one that is being killed, or the manifest that is written after a restore.
     */
    async remove() {
      for (let attempt = 1; attempt < 50; attempt += 1) {
        const isGone = await rm(root, { recursive: true, force: true }).then(
          () => true,
          () => false,
        )
        if (isGone) return
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      await rm(root, { recursive: true, force: true })
    },
  }
}

const hash = (bytes) => createHash('sha256').update(bytes).digest('hex')
