// `forms` is discovered here. The code that it shares with `ui-kit` is split into a chunk, so all dependencies are
// optimized again.
import { field } from 'forms'
import { heading, instance } from 'ui-kit'
import { context } from './context.js'

export const render = () => ({
  text: heading(`settings ${field('name')}`),
  user: context.getStore()?.user,
  pageInstance: instance,
})
