// What the modules of src/core/sys/platform offer to the code above them. Each system must offer the same.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { withoutTests } from './rust-imports.js'

const folder = 'src/core/sys/platform'
/** Names of one thing on different systems. */
const SAME = [
  [/\b(BorrowedFd|BorrowedHandle)\b/g, 'Borrowed'],
  [/\b(OwnedFd|OwnedHandle)\b/g, 'Handle'],
  [/\b(AsFd|AsHandle)\b/g, 'AsHandle'],
  [/\bstd::(io|path|fs|ffi)::/g, ''],
]

/** The problems of the platform modules below `directory`; a line each. */
export function platformProblems(directory) {
  const path = join(directory, folder)
  if (!existsSync(path)) return []
  const { common, system } = modulesOf(readFileSync(join(path, 'mod.rs'), 'utf8'))
  return [
    ...compare(path, common, { unix: 'unix', windows: 'windows' }),
    ...compare(path, system, { linux: 'linux', macos: 'macos', windows: 'windows' }),
  ]
}

/** The modules that mod.rs takes from `common`, and those from `system`. */
function modulesOf(text) {
  const of = (group) => {
    const names = new Set()
    for (const [, inner] of text.matchAll(new RegExp(`use ${group}::\\{([^}]*)\\}`, 'g')))
      for (const name of inner.split(',')) if (name.trim()) names.add(name.trim())
    for (const [, name] of text.matchAll(new RegExp(`use ${group}::(\\w+)::`, 'g'))) names.add(name)
    return [...names].sort()
  }
  return { common: of('common'), system: of('system') }
}

function compare(path, modules, systems) {
  const problems = []
  for (const module of modules) {
    const offers = Object.entries(systems).map(([system, name]) => [system, offersOf(join(path, name), module)])
    const names = new Set(offers.flatMap(([, offered]) => [...offered.keys()]))
    for (const name of names) {
      const missing = offers.filter(([, offered]) => !offered.has(name)).map(([system]) => system)
      const signatures = new Set(offers.flatMap(([, offered]) => offered.get(name) ?? []))
      if (missing.length > 0) problems.push(`${folder}: ${missing.join(' and ')} has no ${module}::${name}`)
      else if (signatures.size > 1)
        problems.push(`${folder}: ${module}::${name} differs between systems: ${[...signatures].join(' | ')}`)
    }
  }
  return problems
}

/** The signature of each function and constant that a module of a system offers, by name. */
function offersOf(path, module) {
  if (!existsSync(join(path, `${module}.rs`))) return sharedOffersOf(path, module)
  const text = read(path, module)
  const offered = itemsOf(text)
  // Functions that are kept in other files of the folder.
  for (const [, other, list] of text.matchAll(/pub\(crate\) use super::(\w+)::\{?([^;}]*)\}?;/g))
    for (const name of list.split(',').map((each) => each.trim())) {
      const items = existsSync(join(path, `${other}.rs`)) ? itemsOf(read(path, other)) : new Map()
      for (const [item, signature] of items)
        if (item === name || item.startsWith(`${name}::`)) offered.set(item, signature)
    }
  return offered
}

/** Those of a module that several systems share, which mod.rs of the system names. */
function sharedOffersOf(path, module) {
  const modFile = join(path, 'mod.rs')
  const alias = new RegExp(`use super::(\\w+) as ${module};`)
  const [, shared] = (existsSync(modFile) && alias.exec(readFileSync(modFile, 'utf8'))) || []
  return shared === undefined ? new Map() : itemsOf(read(join(path, '..'), shared))
}

const read = (path, module) => withoutTests(readFileSync(join(path, `${module}.rs`), 'utf8'))

function itemsOf(text) {
  const items = new Map()
  const type = /^(?:impl(?:<[^>]*>)? (?:\w+ for )?(\w+))/
  let owner = ''
  for (const block of text.split(/\n(?=[^\s})])/)) {
    owner = type.exec(block)?.[1] ?? ''
    if (/^impl.* for /.test(block)) continue
    for (const [, name, rest] of block.matchAll(/^ *pub(?:\(crate\))? (?:const )?fn (\w+)((?:<[^>]*>)?\([^{;]*)\{/gm))
      items.set(owner ? `${owner}::${name}` : name, normal(rest))
    for (const [, name, of] of block.matchAll(/^ *pub(?:\(crate\))? const (\w+): ([^=]*)=/gm))
      items.set(owner ? `${owner}::${name}` : name, normal(of))
  }
  return items
}

/** A signature without the names of its parameters and without white space that does not matter. */
function normal(signature) {
  const names = SAME.reduce((text, [pattern, name]) => text.replace(pattern, name), signature)
  return names
    .replace(/\b(?:mut )?\w+: /g, '')
    .replace(/,(\s*\))/g, '$1')
    .replace(/\s+/g, ' ')
    .replace(/\( /g, '(')
    .replace(/ \)/g, ')')
    .trim()
}
