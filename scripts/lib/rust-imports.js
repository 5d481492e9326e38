// Finds the imports between the files of the crate: `use` declarations and qualified paths, followed through re-exports
// to the file that defines the name. `cargo modules dependencies --acyclic` counts each parent and child as a circle,
// and takes minutes to build.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A map from each of `files` (paths below `directory`) to the set of files that it imports. */
export function rustImports(directory, files) {
  const modules = new Map(files.map((file) => [modulePath(file).join('::'), file]))
  const texts = new Map(files.map((file) => [file, codeOf(readFileSync(join(directory, file), 'utf8'))]))
  const reexports = new Map(files.map((file) => [file, exportsOf(texts.get(file))]))
  const graph = new Map()
  for (const file of files) {
    const targets = new Set()
    for (const path of pathsIn(texts.get(file))) {
      const target = resolvePath(absolute(modulePath(file), path), { modules, reexports })
      if (target && target !== file) targets.add(target)
    }
    graph.set(file, targets)
  }
  return graph
}

/** The text up to the module of unit tests, which is last in a file. */
export const withoutTests = (text) => text.split(/^#\[cfg\(test\)\]\n(?:#\[.*\n)*mod \w+ \{/m)[0]

function modulePath(file) {
  const parts = file
    .replace(/^src\//, '')
    .replace(/\.rs$/, '')
    .split('/')
  return parts.at(-1) === 'mod' ? parts.slice(0, -1) : parts
}

/** Without comments, text literals and unit tests. */
function codeOf(text) {
  return withoutTests(text)
    .replace(/\/\/.*$/gm, '')
    .replace(/"(?:[^"\\]|\\.)*"/gs, '""')
}

/** The names that `pub use` exports, with the path of each; `*` for a glob. */
function exportsOf(code) {
  const found = []
  for (const [, tree] of code.matchAll(/\bpub(?:\([^)]*\))?\s+use\s+([^;]+);/g)) {
    for (const { path, name } of leaves(tree)) found.push({ path, name })
  }
  return found
}

function pathsIn(code) {
  const found = new Set()
  for (const [, isPublic, tree] of code.matchAll(/(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);/g)) {
    if (isPublic) continue
    for (const { path } of leaves(tree)) found.add(path)
  }
  const body = code.replace(/(?:\bpub(?:\([^)]*\))?\s+)?\buse\s+[^;]+;/g, '').replace(/\bpub\(in [^)]*\)/g, '')
  for (const [path] of body.matchAll(/\b(?:crate|super|self)(?:::\w+)+/g)) found.add(path)
  return found
}

/** `a::{b, c::{self, d as e}}` as `a::b`, `a::c`, `a::c::d` with the names b, c, e. */
function leaves(tree, prefix = '') {
  const text = tree.trim()
  const brace = text.indexOf('{')
  if (brace < 0) {
    const [path, alias] = text.split(/\s+as\s+/)
    const full = (prefix + path).replace(/::self$/, '')
    return [{ path: full, name: alias ?? full.split('::').at(-1) }]
  }
  const inner = text.slice(brace + 1, text.lastIndexOf('}'))
  return splitAtCommas(inner).flatMap((part) => leaves(part, prefix + text.slice(0, brace)))
}

function splitAtCommas(text) {
  const parts = ['']
  let depth = 0
  for (const character of text) {
    if (character === '{') depth += 1
    if (character === '}') depth -= 1
    if (character === ',' && depth === 0) parts.push('')
    else parts[parts.length - 1] += character
  }
  return parts.filter((part) => part.trim() !== '')
}

/** A path as the segments below the crate, or nothing if it leaves the crate. */
function absolute(from, path) {
  const segments = path.replace(/\s+/g, '').split('::')
  if (segments[0] === 'crate') return segments.slice(1)
  if (segments[0] === 'self') return [...from, ...segments.slice(1)]
  let base = from
  let index = 0
  for (; segments[index] === 'super'; index += 1) base = base.slice(0, -1)
  // A child of the module, if there is one of that name; a crate otherwise, which `resolvePath` does not find.
  return [...base, ...segments.slice(index)]
}

/** The file that defines what `segments` name: a module of its own, or through re-exports; else the last module's file. */
function resolvePath(segments, crate, depth = 0) {
  let length = segments.length
  while (length > 0 && !crate.modules.has(segments.slice(0, length).join('::'))) length -= 1
  if (length < 2) return undefined
  const module = segments.slice(0, length)
  const file = crate.modules.get(module.join('::'))
  if (length === segments.length) return file
  const name = segments[length]
  for (const { path, name: exported } of crate.reexports.get(file)) {
    if (exported !== name && exported !== '*') continue
    const next = [
      ...absolute(module, path.replace(/::\*$/, '')),
      ...(exported === '*' ? segments.slice(length) : segments.slice(length + 1)),
    ]
    const target = depth < 8 ? resolvePath(next, crate, depth + 1) : undefined
    if (target && (exported === name || target !== file)) return target
  }
  return file
}
