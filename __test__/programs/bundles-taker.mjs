// Takes over a generation from its parent, and reads it after a message.
import { readFileSync } from 'node:fs'
import { isMainThread, parentPort } from 'node:worker_threads'
import { takeOver } from 'warmswap'

const pin = await takeOver()
const answer = () => {
  const text = readFileSync(pin.resolve('a'), 'utf8')
  if (isMainThread) process.send({ text })
  else parentPort.postMessage({ text })
}
const channel = isMainThread ? process : parentPort
channel.on('message', (message) => message === 'read' && answer())
