// Acquires the prewarm lock of a way and never releases it: the demo kills this process.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

const [way, app] = process.argv.slice(2)
const acquire = {
  warmswap: async () => (await import('warmswap')).acquireLock(join(app, '.warmswap/prewarm.lock')),
  careful: async () => (await import('../ways/careful.js')).lock(app),
  today: () => mkdir(join(app, 'prewarm.lock')),
}
await acquire[way]()
process.stdout.write('held\n')
setInterval(() => {}, 1 << 30)
