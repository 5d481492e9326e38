import { play } from './scenario.js'

for (const name of ['today', 'warmswap']) {
  const { createWay } = await import(`./ways/${name}.js`)
  console.log(`\n${name}`)
  for (const [step, outcome] of Object.entries(await play(createWay)))
    console.log(`  ${step.padEnd(30)} ${typeof outcome === 'string' ? outcome : JSON.stringify(outcome)}`)
}
