// Opens the store at its argument, publishes one generation, collects and ends.
import { openBundles } from 'warmswap'

const store = await openBundles(process.argv[2])
const stage = await store.stage()
await stage.write('a.txt', `${process.pid}`)
await stage.write('assets/b.txt', `${process.pid}`)
await stage.publish()
await store.collect()
await store.close()
