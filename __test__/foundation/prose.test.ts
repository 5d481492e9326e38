// The prose check that `npm run ready` and `npm test` run finds each kind of violation in each kind of text.
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const long = `${'The holder of the lock writes its record and '.repeat(5)}exits.`

const files: Record<string, string> = {
  'docs/page.md': `# Page\n\nWhoever pins reads it.\n\n| a | b |\n| - | - |\n| x | The caller is told |\n\n\`whoever\`\n\n\`\`\`js\n// anew\n\`\`\`\n`,
  'src/core/lock.rs': `//! Reads it anew.\n\n/// Of the compression.\nfn f() {\n    // ${long}\n    fail("options.keep is 1.5; accepted is a whole number", 'a');\n}\n`,
  'src/js/lock.ts': `/**\n * Releases it.\n *\n * @param path Path outside of the store.\n * @example\n * tell(told)\n */\nexport const f = () => {\n  throw new Error(\`\${f} waits for ever here\`)\n} // in the world\n`,
  'scripts/run.js': `// Who waits here sees it. Who waits here?\nconst told = "told"\n// By default it runs.\n`,
  '__test__/locks/lock.test.ts': `test('it tells the caller of it', () => {\n  write('the text of a file that tells of it')\n})\n`,
  'Cargo.toml': `[profile]\n# Inside of the crate.\nlto = true\n`,
}

const expected = [
  'Cargo.toml:2 "Inside of": write inside',
  '__test__/locks/lock.test.ts:1 "tells": write report',
  'docs/page.md:3 "Whoever": write name the subject',
  'docs/page.md:7 "told": write report',
  'scripts/run.js:1 a sentence that begins with "Who": name the subject',
  'src/core/lock.rs:1 "anew": write again',
  'src/core/lock.rs:3 a doc comment that begins with "Of": write a full statement',
  'src/core/lock.rs:5 a sentence of 46 words; the limit is 40',
  'src/core/lock.rs:6 "accepted is": write expected',
  'src/js/lock.ts:4 "outside of": write outside',
  'src/js/lock.ts:9 "for ever": write forever',
  'src/js/lock.ts:10 "the world": write external conditions',
]

function lint(folder: string) {
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(repository, 'scripts/lint-prose.js'), '--root', folder],
    {
      encoding: 'utf8',
    },
  )
  return { status, lines: stderr.trim().split('\n') }
}

test('each seeded violation is found, with its file and line', { timeout: 60_000 }, ({ disk }) => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(disk, dirname(name)), { recursive: true })
    writeFileSync(join(disk, name), text)
  }
  const { status, lines } = lint(disk)
  expect(lines.slice(0, -2)).toEqual(
    expected.map((start) => expect.stringMatching(new RegExp(`^${start.replace(/[().]/g, '\\$&')}`))),
  )
  expect([status, lines.at(-1)]).toEqual([1, `prose: ${expected.length} problems`])
})

test('clean texts pass', { timeout: 60_000 }, ({ disk }) => {
  writeFileSync(join(disk, 'page.md'), '# Page\n\nThe holder releases the lock. Users who wait are notified.\n')
  expect(lint(disk)).toEqual({ status: 0, lines: [''] })
})
