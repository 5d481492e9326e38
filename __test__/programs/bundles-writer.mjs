// Writes one file after the other, by path and by its working directory, until its input ends; prints each that was written without an error.
import { mkdirSync, writeFileSync } from 'node:fs'

const [directory] = process.argv.slice(2)
process.chdir(directory)
let isOver = false
process.stdin.once('data', () => (isOver = true))
let count = 0
const write = () => {
  for (let index = 0; index < 5; index += 1) {
    count += 1
    const name = `n${count}.txt`
    const folder = count % 2 === 0 ? '.' : directory
    try {
      if (count % 50 === 0) mkdirSync(`${folder}/d${count}`)
      writeFileSync(`${folder}/${name}`, name)
      console.log(`wrote ${name}`)
    } catch {
      // Not written, so nothing can be lost.
    }
  }
  if (isOver) {
    console.log('over')
    process.exit()
  }
  setImmediate(write)
}
write()
console.log('ready')
