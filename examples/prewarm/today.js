// The method of many tools today: mkdir is the lock, owner.json is written after it, waiters poll, and age decides.
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export async function mkdirLock(path, { timeoutMs = 15 * 60_000, staleMs = 30 * 60_000, pollMs = 250 } = {}) {
  const until = Date.now() + timeoutMs
  await mkdir(dirname(path), { recursive: true })
  for (;;) {
    try {
      await mkdir(path)
      await writeFile(
        join(path, 'owner.json'),
        JSON.stringify({ createdAt: new Date().toISOString(), pid: process.pid }),
      )
      return () => rm(path, { recursive: true, force: true })
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    )
    if (age > staleMs) await rm(path, { recursive: true, force: true })
    else if (Date.now() > until) throw new Error(`timed out waiting for ${path}`)
    else await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
