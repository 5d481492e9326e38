import { olderReload, swallowedRequest } from './scenario.js'

for (const name of ['today', 'warmswap']) {
  const { createWay } = await import(`./ways/${name}.js`)
  console.log(`${name.padEnd(10)} two edits, the first builds slower   ${await olderReload(createWay)}`)
  console.log(
    `${name.padEnd(10)} the worker exits, requests arrive    ${JSON.stringify(await swallowedRequest(createWay))}`,
  )
}
