// The build both ways share: esbuild over real TypeScript, one chunk a route.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import esbuild from 'esbuild'

/** Reads the revision that the last edit wrote; every chunk carries it. */
export const readRevision = async (app) => Number(await readFile(join(app, 'src/revision.txt'), 'utf8'))

/** Options of one build of the sources as they are now. */
export const buildOptions = (app, revision, outdir) => ({
  entryPoints: [join(app, 'src/index.ts')],
  outdir,
  absWorkingDir: app,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  outExtension: { '.js': '.mjs' },
  define: { REVISION: String(revision) },
  logLevel: 'silent',
})

/** Builds without writing; rejects if the sources do not compile. */
export async function buildInMemory(app, revision, outdir) {
  const { outputFiles } = await esbuild.build({ ...buildOptions(app, revision, outdir), write: false })
  return outputFiles
}
