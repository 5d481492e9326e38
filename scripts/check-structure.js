// node scripts/check-structure.js [directory]   fails if the code breaks a rule of its structure (CONTRIBUTING, "Structure")
//   1. No import circle between the files of src/core, src/addon or src/js.
//   2. A layer imports only the layers below it: sys → bundles, locks, archives, state → caches → addon; src/js has its own.
//   3. System types (rustix, libc, OFlags, Errno, std::os::unix …) are named only in src/core/sys.
//   4. No file of src has more than 400 lines without a reason in CONTRIBUTING.
//   5. Only src/core/sys asks for the system or the processor (#[cfg(windows)], cfg!(target_os = …)), and in its folder
//      platform each system's modules offer the same functions with the same signatures.
// `test` modules and files under #[cfg(test)] are exempt from 1 to 3 and from 5.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { platformProblems } from './lib/platform-functions.js'
import { root } from './lib/process.js'
import { rustImports, withoutTests } from './lib/rust-imports.js'

const MAX_LINES = 400
const SYSTEM_TYPES =
  /\b((?:rustix|libc|fs2|memmap2|windows_sys)(?=::|;| as\b)|OFlags|Errno|OpenOptionsExt|MetadataExt|PermissionsExt|std::os::\w+)\b/g
/** In `cfg(…)`, `cfg_attr(…)`, `cfg!(…)` and `cfg_select!`, which may have several lines, and the constants of std. */
const SYSTEM_QUESTION =
  /\bcfg(?:_attr|_select)?!?\s*[({][^\];{}]*?\b(unix|windows|target_\w+)\b|\b(consts::(?:OS|ARCH|FAMILY))\b/g
/** Each layer may import itself and the layers before it. */
const CORE_LAYERS = [['error', 'failure', 'sys'], ['bundles', 'locks', 'archives', 'state'], ['caches']]

/** The problems of the code below `directory`, which has the layout of this repository. One line each. */
function problemsOf(directory) {
  const rust = ['src/core', 'src/addon'].flatMap((folder) => sources(directory, folder, '.rs'))
  const roots = ['src/lib.rs', 'src/core.rs', 'src/addon.rs'].filter((file) => existsSync(join(directory, file)))
  const script = sources(directory, 'src/js', '.ts')
  const rustGraph = rustImports(directory, rust)
  return [
    ...circles(rustGraph).map((files) => `import circle: ${files.join(' → ')}`),
    ...circles(scriptImports(directory, script)).map((files) => `import circle: ${files.join(' → ')}`),
    ...layerViolations(rustGraph),
    ...systemTypes(directory, [...roots, ...rust]),
    ...longFiles(directory, [...rust, ...script]),
    ...platformProblems(directory),
  ]
}

function sources(directory, folder, extension) {
  const path = join(directory, folder)
  if (!existsSync(path)) return []
  return readdirSync(path, { recursive: true })
    .filter((name) => name.endsWith(extension) && !name.endsWith('.d.ts'))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .sort()
}

function scriptImports(directory, files) {
  const known = new Set(files)
  const graph = new Map()
  for (const file of files) {
    const text = readFileSync(join(directory, file), 'utf8')
    const targets = new Set()
    for (const [, name] of text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*'(\.[^']*)'/g)) {
      const target = relative(directory, resolve(directory, dirname(file), name)).replace(/\.js$/, '.ts')
      if (known.has(target) && target !== file) targets.add(target)
    }
    graph.set(file, targets)
  }
  return graph
}

/** Tarjan's algorithm: each group of files that reach one another. */
function circles(graph) {
  const found = []
  const index = new Map()
  const low = new Map()
  const stack = []
  const visit = (node) => {
    index.set(node, index.size)
    low.set(node, index.get(node))
    stack.push(node)
    for (const next of graph.get(node) ?? []) {
      if (!index.has(next)) visit(next)
      if (stack.includes(next)) low.set(node, Math.min(low.get(node), low.get(next)))
    }
    if (low.get(node) !== index.get(node)) return
    const group = stack.splice(stack.indexOf(node))
    if (group.length > 1) found.push(group.sort())
  }
  for (const node of graph.keys()) if (!index.has(node)) visit(node)
  return found
}

function layerViolations(graph) {
  const layerOf = (file) => CORE_LAYERS.findIndex((names) => names.includes(capabilityOf(file)))
  const found = []
  for (const [file, targets] of graph) {
    for (const target of targets) {
      const isAbove = target.startsWith('src/addon/') && file.startsWith('src/core/')
      const isBeside =
        layerOf(file) === layerOf(target) && layerOf(file) > 0 && capabilityOf(file) !== capabilityOf(target)
      const isCore = file.startsWith('src/core/') && target.startsWith('src/core/')
      if (isAbove || (isCore && (layerOf(target) > layerOf(file) || isBeside))) {
        found.push(`${file} imports ${target}, which is not in a layer below it`)
      }
    }
  }
  return found
}

const capabilityOf = (file) => file.split('/')[2].replace(/\.rs$/, '')

function systemTypes(directory, files) {
  return files
    .filter((file) => !file.startsWith('src/core/sys/'))
    .flatMap((file) => {
      const code = withoutTests(readFileSync(join(directory, file), 'utf8')).replace(/\/\/.*$/gm, '')
      const found = [...code.matchAll(SYSTEM_TYPES), ...code.matchAll(SYSTEM_QUESTION)]
      return found.map(({ index, 1: type, 2: constant }) => {
        const line = code.slice(0, index).split('\n').length
        return `${file}:${line} names ${type ?? constant}, which belongs in src/core/sys`
      })
    })
}

function longFiles(directory, files) {
  const contributing = join(directory, 'CONTRIBUTING.md')
  const reasons = existsSync(contributing) ? readFileSync(contributing, 'utf8') : ''
  return files
    .map((file) => [file, readFileSync(join(directory, file), 'utf8').trimEnd().split('\n').length])
    .filter(([file, lines]) => lines > MAX_LINES && !reasons.includes(`\`${file}\``))
    .map(([file, lines]) => `${file} has ${lines} lines; the limit is ${MAX_LINES}, or a reason in CONTRIBUTING.md`)
}

const problems = problemsOf(resolve(process.argv[2] ?? root))
for (const problem of problems) console.error(problem)
if (problems.length > 0) {
  console.error(`\nstructure: ${problems.length} problems`)
  process.exitCode = 1
} else {
  console.log('structure: no problems')
}
