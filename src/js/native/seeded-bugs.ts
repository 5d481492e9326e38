/**
 * Seeded bugs, so that the tests can prove that they would find them. The build replaces `__WARMSWAP_TESTING__` by false,
 * which removes them from the published package (tsdown.config.ts).
 */

declare global {
  /** Whether this is a build for tests. A constant that the build inserts. */
  const __WARMSWAP_TESTING__: boolean
}

export const SEEDED_BUGS = [
  'join-in-flight',
  'fence-at-end',
  'queue-on-the-worker',
  'stop-before-build',
  'accept-late-replies',
  'failed-builds-unshared',
  'stream-without-bounds',
  'drain-without-streams',
  'worker-without-keeper',
  'trust-worker-messages',
  'drain-without-sockets',
  'upstream-reused-for-post',
  'any-listener',
  'replay-after-the-head',
  'start-before-stop',
  'rescue-replays-post',
  'rescue-after-a-body-byte',
  'rescue-without-bounds',
  'rescue-in-the-old-graph',
  'rescue-before-ready',
  'out-dir-seen-outside',
  'out-dir-unseen-by-hooks',
  'out-dir-unseen-by-workers',
  'out-dir-published-early',
  'old-chunks-through-a-link',
  'old-chunks-forever',
  'old-chunks-overwrite',
  'state-dispose-twice',
  'state-open-before-close',
  'state-old-code-wins',
  'state-edit-unseen',
] as const

export type SeededBug = (typeof SEEDED_BUGS)[number]

/** Whether WARMSWAP_MUTANT turns this seeded bug on. Called only behind `__WARMSWAP_TESTING__`. */
export function isSeeded(name: SeededBug): boolean {
  return process.env.WARMSWAP_MUTANT === name
}
