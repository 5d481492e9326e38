import { defineState } from 'warmswap/state'
import { kit, routes } from 'virtual:ssr-bridge'
import { requestInfo } from './request-info.js'

const visits = defineState('example.visits', () => ({ count: 0, since: crypto.randomUUID() }))

/** Serves a request inside its context. */
export async function serve(request) {
  const load = routes[request.url]
  if (load === undefined) return { status: 404 }
  visits.count += 1
  return requestInfo.run({ user: 'ada' }, async () => {
    const page = await load()
    return { ...page.render(), visits, workerInstance: kit.instance }
  })
}
