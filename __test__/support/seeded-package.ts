/** A copy of the built package with one statement changed, to check that the suite notices. */

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './paths.js'

/**
 * Writes build/seeded-packages/<name> and returns its folder. Throws unless the statement is found exactly once:
 * otherwise the bug would prove nothing.
 */
export function seededPackage(
  name: string,
  { file, from, to }: { file: RegExp; from: string | RegExp; to: string },
): string {
  const folder = join(repository, 'build/seeded-packages', name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  cpSync(join(repository, 'dist'), folder, { recursive: true })
  const matches = readdirSync(folder).filter((each) => file.test(each))
  let changed = 0
  for (const each of matches) {
    const path = join(folder, each)
    const text = readFileSync(path, 'utf8')
    const mutated = text.replace(from, () => to)
    if (mutated === text) continue
    changed += 1
    writeFileSync(path, mutated)
  }
  if (changed !== 1)
    throw new Error(
      `the seeded bug '${name}' changed ${changed} files of ${matches.join(', ')}: its statement has moved`,
    )
  return folder
}
