// One step of a session that keeps its generation under a name; prints what it sees, and ends.
import { readFileSync } from 'node:fs'
import { openBundles } from 'warmswap'

const [root, step, argument = '1'] = process.argv.slice(2)
const store = await openBundles(root)
const day = 86_400_000

async function publish(text) {
  const stage = await store.stage()
  await stage.write('text', text)
  await stage.write('lib/text', text)
  return (await stage.publish()).number
}

const steps = {
  /** Resumes, or begins with what is current. With the argument 'stay' it stays until it is killed. */
  async session() {
    if (store.current() === null) for (const text of ['first', 'second']) await publish(text)
    const pin = await store.pin({ name: 'session:42', expiresAt: Date.now() + day })
    const text = [pin.resolve('text'), pin.resolve('lib/text')].map((path) => readFileSync(path, 'utf8')).join()
    return { generation: pin.generation.number, resumed: pin.resumed, text }
  },
  async publish() {
    for (let index = 0; index < Number(argument); index += 1) await publish(`text ${index}`)
    await store.collect()
    return { generations: (await store.list()).map(({ number }) => number) }
  },
  async pins() {
    return await store.pins()
  },
  async release() {
    return { released: await store.release('session:42') }
  },
}
console.log(JSON.stringify(await steps[step]().catch(({ code, message }) => ({ code, message }))))
if (argument === 'stay') setInterval(() => {}, 1000)
else {
  await store.close()
  process.exit()
}
