// The two problems, reproduced in the same way with both methods.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The worker answers, and then ends before it handles another message. Its end is noticed 200 ms later. */
const leave = `async function leave(): Promise<never> {
  for (let ticks = 0; ticks < 100; ticks += 1) await undefined
  for (const until = Date.now() + 200; Date.now() < until; );
  process.exit(0)
}
`

async function withWay(createWay, play) {
  const folder = await mkdtemp(join(tmpdir(), 'reload-server-'))
  await mkdir(join(folder, 'src'))
  const edit = (revision, buildMs = 0) =>
    writeFile(
      join(folder, 'src/handler.ts'),
      `// build takes ${buildMs} ms\nexport const handler = async (request: string): Promise<string> => {\n  if (request === 'go idle') void leave()\n  return 'revision ${revision}'\n}\n${leave}`,
    )
  await edit(1)
  const way = await createWay(folder)
  try {
    await way.change()
    return await play(way, edit)
  } finally {
    await way.close()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Two edits; the build of the first is the slower one. Which one answers when both are done? */
export const olderReload = (createWay) =>
  withWay(createWay, async (way, edit) => {
    await edit(2, 400)
    const first = way.change()
    await new Promise((resolve) => setTimeout(resolve, 100))
    await edit(3)
    const second = way.change()
    await Promise.all([first, second])
    return await way.request('hello')
  })

/** The worker exits. Requests and a reboot arrive before its end is noticed. Which requests are answered? */
export const swallowedRequest = (createWay) =>
  withWay(createWay, async (way) => {
    await way.request('go idle').catch(() => {})
    const parked = [1, 2, 3].map(() => way.request('hello').catch((error) => error.message))
    const { outcome } = await way.reboot()
    return { reboot: outcome, answers: await Promise.all(parked) }
  })
