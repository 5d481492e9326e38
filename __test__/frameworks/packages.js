// Packages for an application in which each late discovery reloads everything: a framework keeps its request context at
// the top of a pre-bundled module, and a dependency that shares that module is discovered late. Each discovery has
// packages of its own, because Vite 8 reloads only when a chunk is split for the first time.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const numbers = (count) => Array.from({ length: count }, (_, index) => index + 1)

/** Writes the packages context-N, frame-N and late-N to node_modules. */
export function writePackages(root, count) {
  for (const n of numbers(count)) {
    write(
      root,
      `context-${n}`,
      `import { AsyncLocalStorage } from 'node:async_hooks'\nexport const context = new AsyncLocalStorage()\n`,
    )
    write(
      root,
      `frame-${n}`,
      `import { context } from 'context-${n}'\nexport const withContext = (value, work) => context.run(value, work)\n`,
    )
    write(
      root,
      `late-${n}`,
      `import { context } from 'context-${n}'\nexport const current = () => context.getStore()?.id ?? 'lost'\n`,
    )
  }
}

function write(root, name, code) {
  const folder = join(root, 'node_modules', name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name, version: '1.0.0', type: 'module', exports: './index.js' }),
  )
  writeFileSync(join(folder, 'index.js'), code)
}

/** A module that runs work within the context of every frame. */
export const framesModule = (count) =>
  `${numbers(count)
    .map((n) => `import { withContext as in${n} } from 'frame-${n}'`)
    .join('\n')}
const frames = [${numbers(count)
    .map((n) => `in${n}`)
    .join(', ')}]
export const within = (value, work, index = 0) =>
  index === frames.length ? work() : frames[index](value, () => within(value, work, index + 1))
`

/** The module that a page imports: without a late dependency for 0, with that of the number after an edit. */
export const lateModule = (n) =>
  n === 0
    ? `export const late = () => 'none'\n`
    : `import { current } from 'late-${n}'\nexport const late = () => current()\n`
