/**
 * Passes the content of the module to each definition of a state, for version 'auto' of warmswap/state.
 *
 * The content is that of the file on disk. Earlier plugins can produce different code from it in each environment, and
 * the code of an importer changes with a re-optimization (`?v=`). The file is read before other plugins transform the
 * code. So an edit during their work leads to another evaluation with the new content.
 */

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { DevEnvironment, Plugin } from 'vite'
import type { ModuleVersion } from '../../state/auto-version.js'
import { fileOf, isOptimizedFile } from './optimizer.js'

/** Calls of these functions receive the version as their fourth argument. */
const FUNCTIONS = new Set(['defineState', 'defineStateAsync'])
const PACKAGES = new Set(['warmswap', 'warmswap/state'])

/** Uses the content of the module's file for version 'auto' of warmswap/state. In development only. */
export function autoVersion(): Plugin[] {
  const versions = new Versions()
  /** The versions of modules, by Vite's context of one transformation, which the hooks of all plugins share. */
  const found = new WeakMap<object, ModuleVersion>()
  return [
    {
      name: 'warmswap:auto-version',
      apply: 'serve',
      enforce: 'pre',
      transform: {
        order: 'pre',
        async handler(code, id) {
          if (mayDefine(code)) found.set(this, await versions.of(this.environment as DevEnvironment, id, code))
          return null
        },
      },
    },
    {
      name: 'warmswap:auto-version-calls',
      apply: 'serve',
      enforce: 'post',
      // After TypeScript and JSX, before Vite replaces the names of packages.
      transform(code) {
        const version = found.get(this)
        if (version === undefined || !mayDefine(code)) return null
        const calls = definitions(parsed((text) => this.parse(text), code))
        if (calls.length === 0) return null
        return { code: insert(code, calls, JSON.stringify(version)), map: null }
      },
    },
  ]
}

/** A fast check: most modules define no state. Options with version 'auto' can come from another module. */
function mayDefine(code: string): boolean {
  return code.includes('defineState')
}

/** The contents of files, with a number for each edit. */
class Versions {
  readonly #known = new Map<string, ModuleVersion>()
  #edition = 0

  async of(environment: DevEnvironment, id: string, code: string): Promise<ModuleVersion> {
    const file = fileOf(id)
    // The optimizer renames chunks. Installed packages count as never edited.
    if (isOptimizedFile(environment, id)) return { file, hash: 'dependency', edition: 0 }
    const content = await readFile(file, 'utf8').catch(() => code)
    const hash = createHash('sha256').update(content).digest('hex').slice(0, 16)
    const known = this.#known.get(file)
    if (known?.hash === hash) return known
    // Kept across a restart of the server, which creates new plugins.
    this.#edition = Math.max(this.#edition + 1, Date.now())
    const version = { file, hash, edition: this.#edition }
    this.#known.set(file, version)
    return version
  }
}

interface Node {
  type: string
  start: number
  end: number
  [property: string]: unknown
}

/**
 * The module as a syntax tree. Undefined if it is not JavaScript at this point: then the version is the initialiser's
 * source text.
 */
function parsed(parse: (code: string) => unknown, code: string): Node | undefined {
  try {
    return parse(code) as Node
  } catch {
    return undefined
  }
}

/** The calls that define a state with options. The functions may be imported from a module that passes them on. */
function definitions(program: Node | undefined): Node[] {
  if (program === undefined) return []
  const nodes = [...walk(program)]
  const isOurs = nodes.some(({ source }) => PACKAGES.has((source as { value?: string } | null)?.value ?? ''))
  const names = new Set(isOurs ? FUNCTIONS : [])
  for (const { type, imported, local } of nodes) {
    if (type === 'ImportSpecifier' && FUNCTIONS.has((imported as Node).name as string))
      names.add((local as Node).name as string)
  }
  return nodes.filter(({ type, callee, arguments: given }) => {
    if (type !== 'CallExpression' || !hasOptions(given as Node[])) return false
    const { name, property } = callee as { name?: string; property?: { name?: string } }
    return names.has(name ?? '') || (isOurs && FUNCTIONS.has(property?.name ?? ''))
  })
}

/** Whether these are a key, an initialiser and options that can have a version. */
function hasOptions(given: Node[]): boolean {
  const [, , options] = given
  if (given.length !== 3 || options === undefined || given.some(({ type }) => type === 'SpreadElement')) return false
  const properties = options.properties as { key?: { name?: string; value?: unknown } }[] | undefined
  return properties?.every(({ key }) => key !== undefined && (key.name ?? key.value) !== 'version') !== true
}

function* walk(root: Node): Iterable<Node> {
  const queue: unknown[] = [root]
  for (const next of queue) {
    if (typeof next !== 'object' || next === null) continue
    if (typeof (next as Node).type === 'string') yield next as Node
    queue.push(...Object.values(next))
  }
}

/** The code with another argument at the end of each call. */
function insert(code: string, calls: Node[], argument: string): string {
  let result = ''
  let done = 0
  for (const call of [...calls].sort((one, other) => one.end - other.end)) {
    const close = call.end - 1
    const last = (call.arguments as Node[]).at(-1) as Node
    const gap = code.slice(last.end, close).replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '')
    result += `${code.slice(done, close)}${gap.includes(',') ? '' : ','} ${argument}`
    done = close
  }
  return result + code.slice(done)
}
