// The same work with warmswap: a generation is published completely or not at all, and kept while a worker runs in it.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as esbuild from 'esbuild'
import { openBundles, openCoordinator } from 'warmswap'
import { esbuildOptions, resources } from '../project.js'

export async function createWay(project, { afterBuild }) {
  const store = await openBundles(join(project.root, '.sst/artifacts/api-dev'))
  // The workers belong to sst here, so the coordinator only builds.
  const coordinator = openCoordinator(store, { start: () => Promise.reject(new Error('not used')) })

  async function run({ stage }) {
    const { outputFiles } = await esbuild.build({ ...esbuildOptions(project), outdir: stage.path, write: false })
    await stage.writeAll(outputFiles, stage.path)
    await stage.symlink('node_modules', project.modules)
    await stage.write('resource.enc', resources)
    await afterBuild()
  }

  return {
    async build() {
      try {
        const { pin } = await coordinator.build({ atLeast: coordinator.change() }, run)
        pin.release()
      } catch {
        // The error is in status().lastError. The current generation does not change.
      }
    },
    acquire: () => store.pin(),
    files: async () => (await readdir(store.current().path)).sort(),
    async close() {
      await coordinator[Symbol.asyncDispose]()
      await store.close()
    },
  }
}
