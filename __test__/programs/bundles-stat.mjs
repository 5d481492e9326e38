// Checks a path all the time: prints `missing <code>` for each check that fails, and the number of checks at the end.
import { statSync } from 'node:fs'

const [path] = process.argv.slice(2)
let looks = 0
let isOver = false
process.stdin.once('data', () => (isOver = true))
const look = () => {
  for (let index = 0; index < 2000; index += 1) {
    try {
      statSync(path)
    } catch (error) {
      console.log(`missing ${error.code}`)
    }
  }
  looks += 2000
  if (isOver) {
    console.log(`looks ${looks}`)
    process.exit()
  }
  setImmediate(look)
}
look()
console.log('ready')
