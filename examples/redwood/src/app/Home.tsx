import { requestInfo } from 'rwsdk/worker'
import { defineState } from 'warmswap/state'
import { Counter } from './Counter'

export function Home() {
  // Within the request: workerd has no random values and no clock while it evaluates modules.
  const visits = defineState('example/visits', () => ({ count: 0, since: new Date().toISOString() }))
  visits.count += 1
  return (
    <main>
      <p>{`${visits.count} visits since ${visits.since} at ${new URL(requestInfo.request.url).pathname}`}</p>
      <Counter />
    </main>
  )
}
