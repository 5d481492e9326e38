// The report of the demo: today beside warmswap.

const rows = [
  ['requests answered', ({ answered }) => answered],
  ['requests failed', ({ failed }) => failed],
  ['… of them: bundle missing', ({ missing }) => missing],
  ['bundles torn or mixed', ({ torn }) => torn],
  ['stale answers', ({ stale }) => stale],
  ['last edit served', ({ served, wanted }) => (served >= wanted ? 'yes' : `no (${served} of ${wanted})`)],
  ['seconds behind the orphaned lock', ({ lockSeconds }) => lockSeconds.toFixed(3)],
  ['seconds to restore the dependencies', ({ restoreSeconds }) => restoreSeconds.toFixed(3)],
  ['edits', ({ edits }) => edits],
  ['reboots asked for', ({ reboots }) => reboots],
  ['builds that fail', ({ failedBuilds }) => failedBuilds],
  ['builders SIGKILLed', ({ buildersKilled }) => buildersKilled],
]

export function printTable({ today, warmswap }, patienceMs) {
  const cells = rows.map(([label, figure]) => [label, String(figure(today)), String(figure(warmswap))])
  console.log(`\n${'The same load, both ways'.padEnd(38)}${'today'.padStart(16)}${'warmswap'.padStart(16)}`)
  console.log('─'.repeat(70))
  for (const [label, one, other] of cells) console.log(`${label.padEnd(38)}${one.padStart(16)}${other.padStart(16)}`)
  console.log('─'.repeat(70))
  console.log(
    `today: rm -rf and rebuild in place, a mkdir lock polled each 250 ms and deleted by hand after ${patienceMs / 1000} s\n(else stale after 30 min), tar -xzf.`,
  )
  if (today.examples.size > 0)
    console.log(
      `What today's requests failed with, for example:\n${[...today.examples].map((text) => `  ${text}`).join('\n')}`,
    )
  console.log('')
}
