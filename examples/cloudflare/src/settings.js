// `forms` is discovered here, and what it shares with `ui-kit` is split into a chunk: everything is optimized anew.
import { field } from 'forms'
import { heading, instance } from 'ui-kit'
import { context } from './context.js'

export const render = () => ({
  text: heading(`settings ${field('name')}`),
  user: context.getStore()?.user,
  pageInstance: instance,
})
