// Fails for texts that break the rules of prose: doc comments, comments, messages, test titles and Markdown pages.
//   node scripts/lint-prose.js                 all files of the repository
//   node scripts/lint-prose.js FILE…           only these files or folders
//   node scripts/lint-prose.js --root FOLDER   the files of another folder
// The rule is in scripts/lib/prose/rule.js. textlint splits the Markdown; the texts of source files become one Markdown
// document, because textlint reads no Rust or TypeScript. Vale does, but installs its program from outside the registry.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { TextlintKernel } from '@textlint/kernel'
import markdown from '@textlint/textlint-plugin-markdown'
import { root as repository } from './lib/process.js'
import rule from './lib/prose/rule.js'
import { textsOf } from './lib/prose/texts.js'

const LINTED = /\.(?:md|rs|[mc]?[jt]s|toml|ya?ml)$/
/** Generated files, and inputs of tests. */
const SKIPPED =
  /(?:^|\/)(?:node_modules|dist|target|\.cache|fixtures|corpus)\/|^index\.d\.ts$|binding\.(?:cjs|d\.cts)$|pnpm-lock/
/** The rule's own words. */
const RULE = ['scripts/lib/prose/rule.js', '__test__/foundation/prose.test.ts']
/** It quotes texts of older commits. */
const QUOTES = 'docs/internals/reader-test.md'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { root: { type: 'string' } } })
const root = resolve(values.root ?? repository)

function listFiles() {
  const names = existsSync(join(root, '.git'))
    ? execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
        cwd: root,
        encoding: 'utf8',
      }).split('\0')
    : readdirSync(root, { recursive: true }).map((name) => name.replaceAll('\\', '/'))
  const wanted = positionals.map((path) => relative(root, resolve(path)).replaceAll('\\', '/'))
  return names
    .filter(
      (name) =>
        LINTED.test(name) &&
        !SKIPPED.test(name) &&
        !RULE.includes(name) &&
        name !== QUOTES &&
        existsSync(join(root, name)),
    )
    .filter((name) => wanted.length === 0 || wanted.some((path) => name === path || name.startsWith(`${path}/`)))
    .sort()
}

/** What is linted of a file, as Markdown, with the line of the file for each of its lines. */
function documentOf(file, source) {
  if (file.endsWith('.md'))
    return { text: source, lines: source.split('\n').map((_, index) => index + 1), docLines: new Set() }
  const text = []
  const lines = []
  const docLines = new Set()
  const push = (content, line) => {
    text.push(content)
    lines.push(line)
  }
  for (const each of textsOf(file, source)) {
    // Data of tests looks like prose.
    if (each.kind === 'message' && file.startsWith('__test__/')) continue
    push('', each.line)
    let isCode = false
    let began = false
    for (const [index, content] of each.lines.entries()) {
      const tag =
        /^\s*@(\w+)(?:\s+(?:\{[^}]*\}\s*)?(?:(?<=@(?:param|property|typedef|template)\s.*)\[?[\w.]+\]?)?)?/.exec(
          content,
        )
      if (tag) isCode = tag[1] === 'example'
      if (isCode && each.kind === 'doc') continue
      // Indented lines of a comment are a list, such as of commands.
      const isBlock =
        tag || ['message', 'title'].includes(each.kind) || (each.kind === 'comment' && /^\s{2}/.test(content))
      if (isBlock) push('', each.line + index)
      const words = tag ? content.slice(tag[0].length) : isBlock ? content.trim() : content
      push(words, each.line + index)
      if (!began && words.trim() !== '' && each.kind === 'doc') docLines.add(text.length)
      began ||= words.trim() !== ''
    }
    push('', each.line)
  }
  return { text: text.join('\n'), lines, docLines }
}

const kernel = new TextlintKernel()

async function problemsOf(file) {
  const { text, lines, docLines } = documentOf(file, readFileSync(join(root, file), 'utf8'))
  const { messages } = await kernel.lintText(text, {
    ext: '.md',
    filePath: file,
    plugins: [{ pluginId: 'markdown', plugin: markdown.default ?? markdown }],
    rules: [{ ruleId: 'prose', rule, options: { docLines } }],
  })
  return messages.map(({ line, message }) => `${file}:${lines[line - 1]} ${message}`)
}

const files = listFiles()
let found = 0
for (const file of files) {
  for (const problem of await problemsOf(file)) {
    console.error(problem)
    found += 1
  }
}
if (found > 0) {
  console.error(`\nprose: ${found} problems`)
  process.exitCode = 1
} else {
  console.log(`prose: no problems in ${files.length} files`)
}
