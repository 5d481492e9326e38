import { spawn } from 'node:child_process'
import { watch } from 'node:fs'
import { join } from 'node:path'
import { rustSuites, typescriptSuites } from './lib/capabilities.js'
import { parseCapability } from './lib/cli.js'
import { root } from './lib/process.js'

const usage = `npm run watch -- <capability> [filter]

Runs a capability's tests now and after each change below src and __test__:
'npm run rs' after a change of a Rust file, 'npm run ts' after a change of a TypeScript file.
Ends with Ctrl+C.`

const suites = { rs: rustSuites(), ts: typescriptSuites() }
const known = [...new Set([...suites.rs, ...suites.ts])]
const { capability, rest } = parseCapability({ usage, known })

const pending = new Set(['rs', 'ts'].filter((language) => suites[language].includes(capability)))
let isBusy = false

function runNext() {
  const [language] = pending
  if (isBusy || language === undefined) return
  pending.delete(language)
  isBusy = true
  spawn(process.execPath, [join(root, `scripts/${language}.js`), capability, ...rest], { stdio: 'inherit' }).on(
    'close',
    () => {
      isBusy = false
      if (pending.size === 0) console.log('\nwaiting for a change')
      runNext()
    },
  )
}

// Files that the build writes into src are not changes.
const languageOf = (file) => (/^binding\./.test(file) ? undefined : { rs: 'rs', ts: 'ts' }[file.split('.').at(-1)])
for (const folder of ['src', '__test__'])
  watch(join(root, folder), { recursive: true }, (_, file) => {
    const language = file === null ? undefined : languageOf(file.split('/').at(-1))
    if (language === undefined || !suites[language].includes(capability)) return
    pending.add(language)
    // An editor may write several files at a time.
    setTimeout(runNext, 200)
  })
runNext()
