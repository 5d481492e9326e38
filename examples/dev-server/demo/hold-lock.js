// Takes the prewarm lock of a way and never gives it back: the demo kills it.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

const [way, app] = process.argv.slice(2)
if (way === 'warmswap') {
  const { acquireLock } = await import('warmswap')
  await acquireLock(join(app, '.warmswap/prewarm.lock'))
} else {
  await mkdir(join(app, 'prewarm.lock'))
}
process.stdout.write('held\n')
setInterval(() => {}, 1 << 30)
