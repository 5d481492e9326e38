// The texts inside source files: doc comments, comments, and the strings that a person reads.
import ts from 'typescript'

/**
 * @typedef {object} Text
 * @property {'doc' | 'comment' | 'message' | 'title'} kind `title`: the title of a test
 * @property {number} line line of the first character, from 1
 * @property {number} end offset in the source after the last character
 * @property {string[]} lines the text without comment markers, one entry per source line
 */

/** A string is prose if it has this many words. Shorter ones are keys, paths and names. */
const MIN_WORDS = 4
const TITLE_CALL = /^(?:test|it|describe|suite|bench)\b/
/** In a string that is a program. */
const CODE = /=>|;\n|\bimport .* from\b|^\s*[{<]|\bconst \w+ =|#!\//

/** The texts of a source file in source order, or nothing for a language that this module does not know. */
export function textsOf(file, source) {
  if (file.endsWith('.rs')) return rustTexts(source)
  if (/\.[mc]?[jt]sx?$/.test(file)) return scriptTexts(file, source)
  if (/\.(?:toml|ya?ml)$/.test(file)) return hashComments(source)
  return []
}

function lineCounter(source) {
  const starts = [0]
  for (let at = source.indexOf('\n'); at >= 0; at = source.indexOf('\n', at + 1)) starts.push(at + 1)
  return (offset) => {
    let low = 0
    let high = starts.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (starts[middle] <= offset) low = middle
      else high = middle
    }
    return { line: low + 1, column: offset - starts[low], startsLine: source.slice(starts[low], offset).trim() === '' }
  }
}

/** Joins comments of one marker on consecutive lines into one text. */
function commentCollector(source) {
  const positionOf = lineCounter(source)
  const texts = []
  let last
  return {
    positionOf,
    texts,
    add(start, end) {
      const raw = source.slice(start, end)
      const { line, column, startsLine } = positionOf(start)
      if (raw.startsWith('/*')) {
        const lines = raw
          .replace(/^\/\*+!?/, '')
          .replace(/\*+\/$/, '')
          .split('\n')
          .map((each) => each.replace(/^\s*\* ?/, ''))
        texts.push({ kind: /^\/\*[*!]/.test(raw) ? 'doc' : 'comment', line, end, lines })
        last = undefined
        return
      }
      const marker = /^(?:\/\/[/!]?|#)/.exec(raw)[0]
      const text = raw.slice(marker.length).replace(/^ /, '')
      const follows = last?.marker === marker && last.column === column && last.line === line - 1
      if (startsLine && follows) {
        last.text.lines.push(text)
        last.text.end = end
        last.line = line
        return
      }
      const added = { kind: marker.length === 3 ? 'doc' : 'comment', line, end, lines: [text] }
      texts.push(added)
      last = startsLine ? { marker, column, line, text: added } : undefined
    },
  }
}

const isProse = (text) => !CODE.test(text) && (text.match(/[A-Za-z][a-z]*(?=[\s.,:;]|$)/g) ?? []).length >= MIN_WORDS

function rustTexts(source) {
  const comments = commentCollector(source)
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|b?r(#*)"([\s\S]*?)"\1|b?"((?:[^"\\]|\\[\s\S])*)"|b?'(?:[^'\\\n]|\\[^'\n]+|\\')'/g
  for (const match of source.matchAll(token)) {
    const end = match.index + match[0].length
    if (/^\/[/*]/.test(match[0])) comments.add(match.index, end)
    const string = match[2] ?? match[3]?.replace(/\\\n\s*/g, '').replace(/\\(["\\])/g, '$1')
    if (string === undefined || !isProse(string)) continue
    const lines = string.replace(/\{[^{}]*\}/g, '`x`').split(/\n|\\n/)
    comments.texts.push({ kind: 'message', line: comments.positionOf(match.index).line, end, lines })
  }
  return comments.texts
}

function scriptTexts(file, source) {
  const comments = commentCollector(source)
  const language = { languageVersion: ts.ScriptTarget.Latest, jsDocParsingMode: ts.JSDocParsingMode.ParseNone }
  const tree = ts.createSourceFile(file, source, language, true)
  const seen = new Set()
  const addComments = (offset) => {
    for (const find of [ts.getTrailingCommentRanges, ts.getLeadingCommentRanges]) {
      for (const { pos, end } of find(source, offset) ?? []) {
        if (!seen.has(pos)) comments.add(pos, end)
        seen.add(pos)
      }
    }
  }
  const addString = (node) => {
    const string = literalText(node)
    if (string === undefined || !isProse(string)) return
    const start = node.getStart(tree)
    const { line } = comments.positionOf(start)
    comments.texts.push({ kind: isTitle(node) ? 'title' : 'message', line, end: node.end, lines: string.split('\n') })
  }
  const visit = (node) => {
    const children = node.getChildren(tree)
    if (children.length === 0) addComments(node.pos)
    addString(node)
    for (const child of children) visit(child)
  }
  visit(tree)
  return comments.texts
}

/** The text of a string literal, with `x` in place of each inserted value. */
function literalText(node) {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text
  if (!ts.isTemplateExpression(node)) return undefined
  return node.head.text + node.templateSpans.map(({ literal }) => `\`x\`${literal.text}`).join('')
}

function isTitle(node) {
  const call = node.parent
  return ts.isCallExpression(call) && call.arguments[0] === node && TITLE_CALL.test(call.expression.getText())
}

function hashComments(source) {
  const comments = commentCollector(source)
  for (const { index, 0: line } of source.matchAll(/^[ \t]*#.*$/gm))
    comments.add(index + line.indexOf('#'), index + line.length)
  return comments.texts
}
