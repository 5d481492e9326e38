// Prepares one operation on the store at its first argument, runs it after a message, and ends.
import { openBundles } from 'warmswap'

const [root, operation, link] = process.argv.slice(2)

const operations = {
  async publish(store) {
    const stage = await store.stage()
    await stage.write('a.txt', 'next')
    await stage.write('assets/b.txt', 'next')
    return () => stage.publish()
  },
  async rollback(store) {
    return () => store.rollback(1)
  },
  async collect(store) {
    const pin = store.pin()
    for (const text of ['next', 'after']) {
      const stage = await store.stage()
      await stage.write('a.txt', text)
      await stage.publish()
    }
    await store.collect()
    return async () => {
      pin.release()
      await store.collect()
    }
  },
  async pin(store) {
    return () => store.pin().release()
  },
  async 'adopt a link'() {
    return async () => (await openBundles(root, { link, adopt: true })).close()
  },
}

const store = await openBundles(root)
const act = await operations[operation](store)
console.log('ready')
process.stdin.once('data', async () => {
  try {
    await act()
    await store.close()
    console.log('done')
  } catch (error) {
    console.log(error.code)
  }
  process.exit()
})
