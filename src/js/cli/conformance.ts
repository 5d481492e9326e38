/** `warmswap conformance -- <command>`: whether a program in another language implements the on-disk formats. */

import { type CaseResult, runConformance } from '../conformance/index.js'
import { durationOf, parse, wrongArguments } from './arguments.js'

const HELP = `Usage: warmswap conformance [options] -- <command> [arguments]
Runs numbered cases of the bundle, lock, cache and ensure formats against a program in any language. The program reads one
JSON object per line from its standard input and writes one answer per line. docs/protocol/conformance.md has the messages.
Cases of operations that the program does not implement are skipped.

  --only <text>       run the cases whose number or title contains the text; can be repeated
  --timeout <time>    how long the program may take for one answer. Default: 60s
  --json              print one JSON object with all results
  -q, --quiet         print failed cases only
  -h, --help          print this text
  -v, --version       print the version of warmswap

Exit codes: 0 no case failed, 1 a case failed, none ran, or the program does not start, 2 wrong arguments`

export async function conformance(args: string[]): Promise<number> {
  const at = args.indexOf('--')
  const [own, command] = at < 0 ? [args, []] : [args.slice(0, at), args.slice(at + 1)]
  const { values } = parse('conformance', HELP, { only: 'list', timeout: 'text' }, own, {
    what: "a command after '--'",
  })
  const [file, ...rest] = command
  if (file === undefined) throw wrongArguments("the command is missing. Expected it after '--'")
  const results = await runConformance([file, ...rest], {
    only: values.only ?? [],
    timeoutMs: durationOf('--timeout', values.timeout) ?? 60_000,
    onResult: (result) => {
      if (!values.json && !(values.quiet && result.outcome !== 'failed')) console.log(lineOf(result))
    },
  })
  const count = (outcome: CaseResult['outcome']): number => results.filter((each) => each.outcome === outcome).length
  const [passed, failed, skipped] = [count('passed'), count('failed'), count('skipped')]
  const ok = failed === 0 && passed > 0
  if (values.json) console.log(JSON.stringify({ ok, passed, failed, skipped, results }))
  else if (!values.quiet || !ok) console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
  return ok ? 0 : 1
}

function lineOf({ id, title, outcome, reason }: CaseResult): string {
  const mark = { passed: '✓', failed: '×', skipped: '-' }[outcome]
  return `${mark} ${id} ${title}${reason === undefined ? '' : `\n    ${reason}`}`
}
