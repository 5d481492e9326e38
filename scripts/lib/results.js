// Reads the reports of the test runners.
import { existsSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { root } from './process.js'

/**
 * Counts tests, and keeps the failures with their reasons for the end of the log, because often only the end is kept.
 */
export class Results {
  passed = 0
  failed = 0
  skipped = 0
  failures = []

  /** Adds nextest's JUnit report, and its output. */
  addNextest(report, { status, output }) {
    if (!existsSync(report)) return this.#fail('core: cargo nextest wrote no report')
    const xml = readFileSync(report, 'utf8')
    for (const [, attributes, body = ''] of xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
      const failure = /<(?:failure|error)\b([^>]*)>([\s\S]*?)<\/(?:failure|error)>/.exec(body)
      if (failure === null) this.passed += 1
      else this.#fail(`core: ${attribute(attributes, 'name')}${excerpt(decode(failure[2]))}`)
    }
    this.skipped += Number(/Summary \[.*?(\d+) skipped/.exec(output)?.[1] ?? 0)
    if (status !== 0 && this.failed === 0) this.#fail('core: cargo nextest did not end well')
  }

  /** Adds vitest's JSON report. Returns the seconds that each folder of __test__ took. */
  addVitest(report, { status }) {
    if (!existsSync(report)) {
      this.#fail('vitest wrote no report')
      return {}
    }
    const { numPassedTests, numFailedTests, numFailedTestSuites, numPendingTests, numTodoTests, testResults } =
      JSON.parse(readFileSync(report, 'utf8'))
    this.failures.push(...testResults.flatMap(failuresOfFile))
    this.passed += numPassedTests
    this.skipped += numPendingTests + numTodoTests
    // A file that fails outside its tests also counts, and so does an error after the tests.
    this.failed += numFailedTests || numFailedTestSuites || (status === 0 ? 0 : 1)
    const seconds = {}
    for (const { name, startTime, endTime } of testResults) {
      const [, suite] = relative(root, name).split('/')
      seconds[suite] = (seconds[suite] ?? 0) + (endTime - startTime) / 1000
    }
    return seconds
  }

  print() {
    if (this.failures.length > 0) console.log(`failed:\n${this.failures.map((each) => `  ${each}`).join('\n')}\n`)
    console.log(`${this.passed} passed, ${this.failed} failed, ${this.skipped} skipped`)
  }

  #fail(failure) {
    this.failed += 1
    this.failures.push(failure)
  }
}

function failuresOfFile({ name, status, message, assertionResults }) {
  const file = relative(root, name)
  const failed = assertionResults
    .filter((test) => test.status === 'failed')
    .map(({ fullName, failureMessages }) => `${file}: ${fullName}${excerpt(failureMessages.join('\n'))}`)
  return status === 'failed' && failed.length === 0 ? [`${file}: ${message}`] : failed
}

/** The first lines of a message, indented. */
function excerpt(message) {
  const lines = message.trim().split('\n').slice(0, 8)
  return lines.map((line) => `\n      ${line.slice(0, 400)}`).join('')
}

const attribute = (attributes, name) => decode(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '')

function decode(text) {
  const named = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return text.replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (whole, decimal, hex, name) =>
    decimal || hex
      ? String.fromCodePoint(decimal ? Number(decimal) : Number.parseInt(hex, 16))
      : (named[name] ?? whole),
  )
}
