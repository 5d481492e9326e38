// The dev server's work as it is today: pkg/runtime/runtime.go and pkg/runtime/node/build.go of sst, in JavaScript.
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as esbuild from 'esbuild'
import { esbuildOptions, resources } from '../project.js'

export async function createWay(project, { afterBuild }) {
  const out = join(project.root, '.sst/artifacts/api-dev')
  // One esbuild context for each function. Its output directory is fixed, and it writes straight into it.
  const context = await esbuild.context({
    ...esbuildOptions(project),
    outdir: out,
    plugins: [{ name: 'after-build', setup: (build) => build.onEnd(afterBuild) }],
  })
  let built = false

  return {
    async build() {
      await rm(out, { recursive: true, force: true })
      await mkdir(out, { recursive: true })
      const result = await context.rebuild().catch((failure) => failure)
      // Two concurrent builds create the same link: the second finds it.
      await symlink(project.modules, join(out, 'node_modules')).catch((error) => {
        if (error.code !== 'EEXIST') throw error
      })
      // Written even if esbuild had errors.
      await writeFile(join(out, 'resource.enc'), resources)
      built = result.errors.length === 0 || built
    },
    /** Where the next worker starts. The disk is not checked. */
    acquire: () => (built ? { path: out, release: () => {} } : undefined),
    files: async () => (await readdir(out)).sort(),
    close: () => context.dispose(),
  }
}
