import { marked } from 'marked'
import type { Answer } from '../index.js'

declare const REVISION: number

export function answer(): Answer {
  return { revision: REVISION, body: marked.parse(`# Revision ${REVISION}\n\nRendered by *marked*.`) }
}
