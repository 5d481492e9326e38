/** The colour of each outcome in a page. */

import type { Outcome } from './types.js'

/** Colours that can be distinguished in light and dark mode and by colour-blind readers (Okabe and Ito). */
export const OUTCOME_COLOURS: Record<Outcome, string> = {
  ok: '#009e73',
  'wrong-generation': '#cc79a7',
  refused: '#e69f00',
  reset: '#d55e00',
  hang: '#b2182b',
  'server-error': '#0072b2',
  stranger: '#8c6bb1',
}
