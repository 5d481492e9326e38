/**
 * Finds the location of a worker's syntax error. Node 20 to 25 print file and line of a syntax error in an ES module,
 * but its stack does not contain them. A separate process finds them: it compiles the modules that the entry imports,
 * and runs none.
 */

import { execFile } from 'node:child_process'
import { pathToFileURL } from 'node:url'

/** A file of code with a line: frames of Node's own files have no extension. */
const LOCATION = /\.[cm]?[jt]sx?:\d+/
/** The process runs no module, so that it ends by itself. A machine under load can take seconds to start it. */
const LIMIT_MS = 30_000

/** Ends with the error of the first module that has this message. Node prints it with file and line. */
const COMPILE = `
const { readFileSync } = require('node:fs')
const { createRequire } = require('node:module')
const { SourceTextModule } = require('node:vm')
const [, entry, message] = process.argv
const urls = new Set([entry])
for (const url of urls) {
  const add = (name) => {
    try {
      const isPath = /^([.]{0,2}[/]|file:)/.test(name)
      urls.add(isPath ? new URL(name, url).href : String(require('node:url').pathToFileURL(createRequire(url).resolve(name))))
    } catch {}
  }
  let text
  let module
  try {
    text = readFileSync(new URL(url), 'utf8')
  } catch {
    continue
  }
  try {
    module = new SourceTextModule(text, { identifier: url })
  } catch (error) {
    if (error.message === message) throw error
    continue
  }
  for (const name of module.dependencySpecifiers ?? module.moduleRequests.map(({ specifier }) => specifier)) add(name)
  for (const [, , name] of text.matchAll(/\\bimport\\s*[(]\\s*(['"])(.+?)\\1/g)) add(name)
}`

/** Whether the file and line of this error have to be found. */
export function isUnlocated(error: Error | undefined): error is Error {
  const isNode = process.versions.bun === undefined && process.versions.deno === undefined
  return isNode && error?.name === 'SyntaxError' && !LOCATION.test(error.stack ?? '')
}

/** Adds file and line to the message and the stack of a syntax error, if they are missing and can be found. */
export async function locate(error: Error, entry: string): Promise<void> {
  const { message } = error
  const printed = await compile(pathToFileURL(entry).href, message)
  const [place, ...lines] = printed.split('\n')
  const [, file, line] = /^(file:.+):(\d+)$/.exec(place ?? '') ?? []
  if (file === undefined || !lines.includes(`SyntaxError: ${message}`)) return
  const { stack = '' } = error
  error.message = `${message} (${file}:${line})`
  error.stack = [place, ...lines.slice(0, lines.indexOf('')), '', stack].join('\n')
}

/** What Node prints on standard error; nothing if it cannot be started. */
function compile(url: string, message: string): Promise<string> {
  const { NODE_OPTIONS: _, ...env } = process.env
  const args = ['--no-warnings', '--experimental-vm-modules', '--eval', COMPILE, '--', url, message]
  return new Promise((resolve) => {
    try {
      execFile(process.execPath, args, { env, timeout: LIMIT_MS }, (_error, _stdout, stderr) => resolve(stderr))
    } catch {
      resolve('')
    }
  })
}
