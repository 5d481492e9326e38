// The build of both methods. The source can state how slow it is, so that two builds overlap on purpose.
import { readFile } from 'node:fs/promises'
import * as esbuild from 'esbuild'

export async function bundle(entry, outdir) {
  const source = await readFile(entry, 'utf8')
  const { outputFiles } = await esbuild.build({
    stdin: { contents: source, sourcefile: entry, loader: 'ts' },
    outfile: `${outdir}/handler.mjs`,
    bundle: true,
    format: 'esm',
    platform: 'node',
    write: false,
    logLevel: 'silent',
  })
  const slowMs = Number(/build takes (\d+) ms/.exec(source)?.[1] ?? 0)
  await new Promise((resolve) => setTimeout(resolve, slowMs))
  return outputFiles
}
