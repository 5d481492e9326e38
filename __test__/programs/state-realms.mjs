// Several registrations of the addon and several realms in one thread: prints whether they find the same values.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import vm from 'node:vm'

const [module, what] = process.argv.slice(2)
const require = createRequire(module)

function registrations() {
  let count = 0
  let sameRealm = true
  const version = () => new (require('./binding.cjs').NativeCell)(Buffer.from('registered')).version()
  ;new (require('./binding.cjs').NativeCell)(Buffer.from('registered')).write(Buffer.from('x'))
  for (; count < 99; count += 1) {
    for (const file of Object.keys(require.cache)) delete require.cache[file]
    const binding = require('./binding.cjs')
    sameRealm &&= binding.mainRealm() === globalThis
  }
  // The context's own module object, as a loader inside it would make one.
  const context = vm.createContext({ process, file: process.env.NAPI_RS_NATIVE_LIBRARY_PATH })
  const binding = vm.runInContext(
    'const module = { exports: {} }; process.dlopen(module, file); module.exports',
    context,
  )
  sameRealm &&= binding.mainRealm() === globalThis
  return { registrations: count + 1, sameRealm, sameCell: version() === 1n }
}

/** Evaluates an ES module and what it imports inside a context, as vitest's vm pools do. */
async function importInContext(file, context, known = new Map()) {
  const link = async (specifier, referrer) => {
    const url = specifier.startsWith('.') ? new URL(specifier, referrer.identifier).href : specifier
    if (!known.has(url)) known.set(url, specifier.startsWith('.') ? load(url) : await foreign(specifier))
    return known.get(url)
  }
  const load = (url) =>
    new vm.SourceTextModule(readFileSync(fileURLToPath(url), 'utf8'), {
      context,
      identifier: url,
      initializeImportMeta: (meta) => (meta.url = url),
    })
  const foreign = async (specifier) => {
    const namespace = await import(specifier)
    return new vm.SyntheticModule(
      Object.keys(namespace),
      function () {
        for (const name of Object.keys(namespace)) this.setExport(name, namespace[name])
      },
      { context },
    )
  }
  const entry = load(pathToFileURL(file).href)
  await entry.link(link)
  await entry.evaluate()
  return entry.namespace
}

async function context() {
  const here = await import(module)
  const realm = vm.createContext({ process, Buffer, console, AbortSignal, structuredClone })
  const there = await importInContext(join(dirname(module), 'state.js'), realm)
  const value = here.defineState('shared', () => ({ count: 41 }))
  const inContext = there.defineState('shared', () => 'another')
  const list = there.defineState('made in the context', () => [])
  return {
    isOtherRealm: there.defineState !== here.defineState && there.stateBackend === 'native',
    identical: inContext === value,
    definedThere: here.peekState('made in the context') === list,
    realmScopesDiffer:
      here.defineState('own', () => ({}), { scope: 'realm' }) !==
      there.defineState('own', () => ({}), { scope: 'realm' }),
  }
}

console.log(JSON.stringify(await { registrations, context }[what]()))
