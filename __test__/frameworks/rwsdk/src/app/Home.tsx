import { requestInfo } from 'rwsdk/worker'
// @ts-expect-error
import { within } from '../frames.js'
// @ts-expect-error
import { late } from '../late.js'
import { Counter } from './Counter'

const idOf = () => new URL(requestInfo.request.url).searchParams.get('id')

export async function Home() {
  const text = await within({ id: idOf() }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 10))
    return `[id=${idOf()};late=${late()}]`
  })
  return (
    <main>
      <p>{text}</p>
      <Counter />
    </main>
  )
}
