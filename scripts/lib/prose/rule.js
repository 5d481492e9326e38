// The prose rule: words and forms that a reader stumbles over, and sentences that are too long. A textlint rule.
import { split } from 'sentence-splitter'

export const MAX_WORDS = 40

/** Each with what to write instead. */
const PATTERNS = [
  [/\bwhoever\b/gi, 'name the subject: the caller, the process, the holder'],
  [/\b(?:tells?|told|telling)\b/gi, 'report, return, notify, log; distinguish for "tell apart"'],
  [/\banew\b/gi, 'again'],
  [/\bfor ever\b/gi, 'forever, or "never times out"'],
  [/\binside of\b/gi, 'inside'],
  [/\boutside of\b/gi, 'outside'],
  [/\bmeanwhile\b/gi, 'in the meantime, or name what happens concurrently'],
  [/\b(?:accepted is|promised were)\b/gi, 'expected'],
  [/\bthe world\b/gi, 'external conditions: network, disk, other processes'],
  [/\bthe (?:living|dead)(?=[.,;:)]|$| (?:is|are|has|have|was|were|of)\b)/gi, 'a live holder, a dead holder'],
  [/\b(?:anothers|the orphan's)\b/gi, 'owned by another user or process'],
  [/\bhowever many\b/gi, 'any number of; concurrent callers share one'],
  [/\bin the way\b/gi, 'the current holder; the conflicting entry'],
  [/\bsaid aloud\b/gi, 'printed'],
  [/\bfor people\b/gi, 'human-readable'],
  [/\b(?:gives?|gave|given|giving) (?:it |them )?back\b/gi, 'release, or return'],
  [/\bmends?\b/gi, 'fix'],
  [/\bmutants?\b(?!-)/gi, 'seeded bug'],
]

/** The first words of a doc comment that make it a fragment. */
const FRAGMENT = /^(?:Of|That)\b|^(?:By(?! default)|For(?! (?:each|example|every)))\b/

const wordsOf = (text) => text.split(/\s+/).filter((word) => /\w/.test(word)).length

const INLINE = new Set(['Str', 'Code', 'Break', 'Html', 'Image'])

/** The text of a Markdown node, with a word in place of code, and newlines as in the source. */
function plainText(node) {
  if (node.type === 'Code') return 'code'
  if (node.type === 'Break') return '\n'
  if (INLINE.has(node.type)) return node.type === 'Str' ? node.value : ''
  return (node.children ?? []).map(plainText).join('')
}

/** Reports each sentence of a Markdown text that breaks the rule. `options.docLines`: lines on which a doc comment begins. */
export default function prose(context, { docLines = new Set() } = {}) {
  const { Syntax, RuleError, report, locator, getSource } = context
  const check = (node) => {
    const text = plainText(node)
    const complain = (message, offset) => {
      const line = text.slice(0, offset).split('\n').length - 1
      const before = getSource(node).split('\n').slice(0, line)
      report(node, new RuleError(message, { padding: locator.at(before.join('\n').length + (line > 0 ? 1 : 0)) }))
    }
    if (docLines.has(node.loc.start.line) && FRAGMENT.test(text.trim()))
      complain(`a doc comment that begins with "${text.trim().split(/\s/)[0]}": write a full statement`, 0)
    for (const [pattern, instead] of PATTERNS) {
      for (const { 0: found, index } of text.matchAll(pattern)) complain(`"${found}": write ${instead}`, index)
    }
    // Splitting into sentences takes longest; most texts are short.
    if (wordsOf(text) <= MAX_WORDS && !/\bWho\b/.test(text)) return
    for (const { type, raw, range } of split(text)) {
      if (type !== 'Sentence') continue
      if (wordsOf(raw) > MAX_WORDS) complain(`a sentence of ${wordsOf(raw)} words; the limit is ${MAX_WORDS}`, range[0])
      if (/^Who\b/.test(raw) && !raw.endsWith('?'))
        complain(`a sentence that begins with "Who": name the subject`, range[0])
    }
  }
  return { [Syntax.Paragraph]: check, [Syntax.Header]: check, [Syntax.TableCell]: check }
}
