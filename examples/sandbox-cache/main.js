// Prints the report as a table, for both methods: node examples/sandbox-cache/main.js
import { startServer } from './server.js'
import { play } from './scenario.js'

const told = ({ outcome, modules, seconds }) =>
  [outcome, modules && `modules: ${modules}`, `${seconds.toFixed(1)} s`].filter(Boolean).join(', ')

const server = await startServer()
try {
  const [today, ours] = [
    await play(server, await import('./ways/today.js')),
    await play(server, await import('./ways/warmswap.js')),
  ]
  console.log(`${''.padEnd(28)}${'today'.padEnd(62)}warmswap`)
  for (const [step, seen] of Object.entries(today))
    console.log(`${step.padEnd(28)}${told(seen).padEnd(62)}${told(ours[step])}`)
} finally {
  await server.stop()
}
