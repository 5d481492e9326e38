import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseCommand } from './lib/cli.js'
import { root } from './lib/process.js'

const usage = `node scripts/reader-test.js draw FOLDER [--commit COMMIT]
node scripts/reader-test.js render --before FOLDER --after FOLDER [--out FILE]

Measures whether texts are understood at first reading. 'draw' takes ten doc comments, ten messages and ten comments of
each capability, chosen by the hash of the commit, and writes FOLDER/sample.json and FOLDER/sample.md.

A reader who has never seen the code gets sample.md and writes FOLDER/answers.json: { "<id>": "<the text in other words>" }.
A grader who has the code writes FOLDER/grades.json: { "<id>": { "right": true, "note": "<optional>" } }.
'render' writes the page with both samples, their answers and grades, and fails if an answer or a grade is missing.

  --commit   the commit whose texts are drawn. Default HEAD
  --out      the page. Default docs/internals/reader-test.md`

const CAPABILITIES = ['bundles', 'locks', 'archives', 'caches', 'state', 'restarts', 'race-kit', 'plugins']
const KINDS = { doc: 'Doc comments', message: 'Messages', comment: 'Comments' }
const PER_KIND = 10
/** Shorter strings are parts of messages. */
const MIN_WORDS = { doc: 5, message: 8, comment: 5 }
/** Comments for tools. */
const DIRECTIVE = /^\s*(?:biome-ignore|@|SAFETY\b|eslint|[─═-]{2})/

const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 })

const capabilityOf = (file) =>
  CAPABILITIES.find((name) => new RegExp(`^src/(?:core|addon|js)/${name}(?:/|\\.rs$)`).test(file))

/** The texts of all capabilities in a commit. */
async function population(commit) {
  // TypeScript takes a second to load, and rendering does not need it.
  const { textsOf } = await import('./lib/prose/texts.js')
  const files = git('ls-tree', '-r', '--name-only', commit, 'src')
    .split('\n')
    .filter((file) => /\.(?:rs|ts)$/.test(file) && !/tests\.rs$|\.d\.ts$/.test(file) && capabilityOf(file))
  return sourcesOf(commit, files).flatMap((source, index) => itemsOf(textsOf, files[index], source))
}

/** The contents of these files in a commit, from one process. */
function sourcesOf(commit, files) {
  const input = files.map((file) => `${commit}:${file}\n`).join('')
  const output = execFileSync('git', ['cat-file', '--batch'], { cwd: root, input, maxBuffer: 1 << 28 })
  let at = 0
  return files.map(() => {
    const start = output.indexOf('\n', at) + 1
    const size = Number(output.toString('utf8', at, start).trim().split(' ')[2])
    at = start + size + 1
    return output.toString('utf8', start, start + size)
  })
}
function itemsOf(textsOf, file, source) {
  const unitTests = source.search(/^#\[cfg\(test\)\]\n(?:#\[.*\n)*mod \w+ \{/m)
  return textsOf(file, source)
    .filter(({ end }) => unitTests < 0 || end < unitTests)
    .filter(({ kind }) => kind in KINDS)
    .map(({ kind, line, lines, end }) => ({
      capability: capabilityOf(file),
      kind,
      file,
      line,
      text: lines
        .join('\n')
        .trim()
        .replaceAll('`x`', kind === 'message' ? '<value>' : '`x`'),
      // What a reader of the code sees next to a comment.
      code: kind === 'message' ? '' : codeAfter(source, end),
    }))
    .filter(({ kind, text }) => text.split(/\s+/).length >= MIN_WORDS[kind] && !DIRECTIVE.test(text))
}

function codeAfter(source, end) {
  const lines = source.slice(end).split('\n')
  const rest = lines[0].trim() === '' ? lines.slice(1) : lines
  return rest.map((line) => line.trim()).find((line) => line !== '' && !/^(?:#\[|\/\/|\/\*|\*)/.test(line)) ?? ''
}

/** The same commit always has the same sample; which texts are in it cannot be chosen. */
async function draw(commit) {
  const rank = ({ kind, file, text }) =>
    createHash('sha256').update([commit, kind, file, text].join('\0')).digest('hex')
  const items = (await population(commit)).map((item) => ({ ...item, rank: rank(item) }))
  items.sort((one, other) => (one.rank < other.rank ? -1 : 1))
  return CAPABILITIES.flatMap((capability) =>
    Object.keys(KINDS).flatMap((kind) =>
      items
        .filter((item) => item.capability === capability && item.kind === kind)
        .slice(0, PER_KIND)
        .map(({ rank: _, ...item }, index) => ({ id: `${capability}-${kind}-${index + 1}`, ...item })),
    ),
  )
}

/** What the reader gets: the texts, without the files that they are from. */
function questions({ commit, items }) {
  const sections = items.map(
    ({ id, text, code }) => `## ${id}\n\n${fenced(text)}${code ? `\n\nNext line of code: \`${code}\`` : ''}\n`,
  )
  return `# Sample of ${commit}\n\nRestate each text in other words: what it says, about what, and what a reader should do.\n\n${sections.join('\n')}`
}

const fenced = (text) => `\`\`\`\`text\n${text}\n\`\`\`\``

function readResults(folder) {
  const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const { commit, items } = read('sample.json')
  const answers = read('answers.json')
  const grades = read('grades.json')
  const missing = items.filter(({ id }) => typeof answers[id] !== 'string' || typeof grades[id]?.right !== 'boolean')
  if (missing.length > 0)
    throw new Error(`${folder}: no answer or no grade for ${missing.map(({ id }) => id).join(', ')}`)
  return { commit, items: items.map((item) => ({ ...item, answer: answers[item.id], ...grades[item.id] })) }
}

const percent = (items) => {
  const right = items.filter((item) => item.right).length
  return items.length === 0 ? '–' : `${right} of ${items.length} (${Math.floor((right / items.length) * 100)} %)`
}

function summary({ before, after }) {
  const row = (name, select) =>
    `| ${name} | ${percent(before.items.filter(select))} | ${percent(after.items.filter(select))} |`
  return [
    '| Texts | Right before | Right after |',
    '| --- | --- | --- |',
    ...CAPABILITIES.map((name) => row(name, (item) => item.capability === name)),
    ...Object.entries(KINDS).map(([kind, title]) => row(title, (item) => item.kind === kind)),
    row('**All**', () => true),
  ].join('\n')
}

function sample(title, { commit, items }) {
  const entries = items.map(
    ({ id, file, line, text, answer, right, note }) =>
      `### ${id}: ${right ? 'right' : 'wrong'}\n\n\`${file}:${line}\`\n\n${fenced(text)}\n\nAnswer: ${answer.trim()}\n${note ? `\nGrade: ${note.trim()}\n` : ''}`,
  )
  return `## ${title}: ${commit.slice(0, 12)}\n\n${entries.join('\n')}`
}

const page = (results) => `# Reader test

Are the texts in the code understood at first reading? \`node scripts/reader-test.js draw\` takes ten doc comments, ten messages and ten comments of each capability from a commit; the hash of the commit decides which. A reader who has never seen the code restates each text. A second one, who has the code, grades the answers.

<!-- Written by scripts/reader-test.js render. The texts and answers below are quotes: the prose check skips them. -->

${summary(results)}

${sample('Before', results.before)}
${sample('After', results.after)}`

const command = { usage, known: [], options: { commit: { type: 'string', default: 'HEAD' } } }
for (const name of ['before', 'after', 'out']) command.options[name] = { type: 'string' }
const { values, positionals } = parseCommand(command)
const [verb, folder] = positionals
if (verb === 'draw' && folder) {
  const commit = git('rev-parse', `${values.commit}^{commit}`).trim()
  const drawn = { commit, items: await draw(commit) }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'sample.json'), `${JSON.stringify(drawn, null, 2)}\n`)
  writeFileSync(join(folder, 'sample.md'), questions(drawn))
  console.log(`${drawn.items.length} texts of ${commit.slice(0, 12)}: ${resolve(folder, 'sample.md')}`)
} else if (verb === 'render' && values.before && values.after) {
  const results = { before: readResults(values.before), after: readResults(values.after) }
  const out = values.out ?? join(root, 'docs/internals/reader-test.md')
  writeFileSync(out, page(results))
  console.log(`${out}\n${summary(results)}`)
} else {
  console.error(usage)
  process.exitCode = 2
}
