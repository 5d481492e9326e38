// The report of the demo: a table with one column per method, and the verdict.
import { bold, dim, green, red } from './colours.js'

/** Label, figure, and whether a value is bad. Without the third, the row is a count of the load. */
const rows = [
  ['requests answered', ({ answered }) => answered],
  ['requests failed', ({ failed }) => failed, (value) => value > 0],
  ['… of them: bundle missing', ({ missing }) => missing, (value) => value > 0],
  ['bundles torn or mixed', ({ torn }) => torn, (value) => value > 0],
  ['stale answers', ({ stale }) => stale, (value) => value > 0],
  [
    'last edit served',
    ({ served, wanted }) => (served >= wanted ? 'yes' : `no (${served} of ${wanted})`),
    (value) => value !== 'yes',
  ],
  ['seconds behind the orphaned lock', ({ lockSeconds }) => lockSeconds.toFixed(3), (value) => value > 1],
  ['seconds to restore the dependencies', ({ restoreSeconds }) => restoreSeconds.toFixed(3)],
  ['build folders left over', ({ litter }) => litter, (value) => value > 0],
  ['edits', ({ edits }) => edits],
  ['reboots requested', ({ reboots }) => reboots],
  ['builds that fail', ({ failedBuilds }) => failedBuilds],
  ['builders SIGKILLed', ({ buildersKilled }) => buildersKilled],
]

const LABEL = 38
const COLUMN = 14

export function printTable({ today, careful, warmswap }, patienceMs) {
  const line = '─'.repeat(LABEL + 3 * COLUMN)
  const heading = ['today', 'careful', 'warmswap'].map((name) => name.padStart(COLUMN)).join('')
  console.log(`\n${bold(`${'The same load, three methods'.padEnd(LABEL)}${heading}`)}\n${line}`)
  for (const [label, figure, isBad] of rows) {
    const cells = [today, careful, warmswap].map((result) => {
      const value = figure(result)
      const text = String(value).padStart(COLUMN)
      if (isBad === undefined) return text
      return isBad(value) ? red(text) : green(text)
    })
    console.log(label.padEnd(LABEL) + cells.join(''))
  }
  console.log(line)
  console.log(
    dim(
      `An edit every ${warmswap.editMs} ms: twice as long as an edit takes on this machine until it is served.\n` +
        `today     rm -rf and rebuild in place; a mkdir lock that is polled every 250 ms, stale after 30 min (the demo\n          deletes it by hand after ${patienceMs / 1000} s); tar -xzf\n` +
        'careful   builds in a temporary folder, a swapped symlink; proper-lockfile; tar into a temporary folder and rename\n' +
        'warmswap  openBundles(), openCoordinator(), prewarm() and unpack()',
    ),
  )
  if (today.examples.size > 0)
    console.log(
      `\nErrors of today's requests, for example:\n${[...today.examples].map((text) => `  ${text}`).join('\n')}`,
    )
}

/** One sentence per method's result, and the next step. */
export function printVerdict({ today, careful, warmswap }, problems) {
  const faults = ({ failed, torn, stale, lockSeconds, litter }) =>
    [
      failed > 0 && `failed ${failed} requests`,
      torn > 0 && `served ${torn} torn bundles`,
      stale > 0 && `gave ${stale} stale answers`,
      lockSeconds > 1 && `waited ${lockSeconds.toFixed(1)} s for a dead lock holder`,
      litter > 0 && `left ${litter} build folders behind`,
    ].filter(Boolean)
  const listed = (result) => faults(result).join(', ') || 'had no problem'
  const verdict =
    problems.length === 0
      ? green(`warmswap answered ${warmswap.answered} requests without a failure, a torn bundle or a stale answer`)
      : red(`warmswap failed the demo: ${problems.join('; ')}`)
  console.log(`\n${bold('Verdict:')} ${verdict}; today's method ${listed(today)}; the careful one ${listed(careful)}.`)
  console.log(
    `${bold('Next:')} read examples/dev-server/ways/warmswap.js, the code behind the third column, or watch it in a browser: npm run demo -- --serve`,
  )
}
