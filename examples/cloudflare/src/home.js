import { heading, instance } from 'ui-kit'
import { context } from './context.js'

export const render = () => ({ text: heading('home'), user: context.getStore()?.user, pageInstance: instance })
