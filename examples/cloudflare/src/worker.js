import { instance } from 'ui-kit'
import { defineState } from 'warmswap/state'
import { context } from './context.js'
import { routes } from 'virtual:routes'

const visits = defineState('example.visits', () => ({ count: 0, since: crypto.randomUUID() }))
/** Differs after each evaluation of this module. */
const evaluation = crypto.randomUUID()

export default {
  fetch(request) {
    const load = routes[new URL(request.url).pathname]
    if (load === undefined) return new Response('not found', { status: 404 })
    visits.count += 1
    return context.run({ user: 'ada' }, async () => {
      const page = await load()
      return Response.json({ ...page.render(), visits, evaluation, workerInstance: instance })
    })
  },
}
