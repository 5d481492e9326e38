// The build of all ways: esbuild over real TypeScript, one chunk per route.
import { createHash } from 'node:crypto'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import esbuild from 'esbuild'

/** Reads the revision that the last edit wrote. Every chunk contains it. */
export const readRevision = async (app) => Number(await readFile(join(app, 'src/revision.txt'), 'utf8'))

/** Options of a build of the current sources. */
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

/** Reads all sources once, so that the build uses exactly the fingerprinted bytes, even if a file is edited during the build. */
export async function readSources(app) {
  const entries = (await readdir(join(app, 'src'), { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  )
  const paths = entries.map((entry) => join(entry.parentPath, entry.name)).filter((path) => /\.(ts|txt)$/.test(path))
  const sources = new Map()
  for (const path of paths.sort()) sources.set(path, await readFile(path, 'utf8'))
  return sources
}

export const revisionOf = (app, sources) => Number(sources.get(join(app, 'src/revision.txt')))

/** The fingerprint of the sources: equal for the same bytes under the same names. */
export function fingerprint(sources) {
  const hash = createHash('sha256')
  for (const [path, text] of sources) hash.update(`${path}\0${text}\0`)
  return hash.digest('hex')
}

/** Builds these sources without writing files. Rejects if they do not compile. */
export async function buildInMemory(app, sources, outdir) {
  const revision = revisionOf(app, sources)
  const fromMemory = {
    name: 'from-memory',
    setup: (build) =>
      build.onLoad({ filter: /\.ts$/ }, ({ path }) =>
        sources.has(path) ? { contents: sources.get(path), loader: 'ts' } : undefined,
      ),
  }
  const { outputFiles } = await esbuild.build({
    ...buildOptions(app, revision, outdir),
    plugins: [fromMemory],
    write: false,
  })
  return outputFiles
}
