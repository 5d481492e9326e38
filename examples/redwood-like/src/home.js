import { heading, instance } from 'ui-kit'
import { requestInfo } from './request-info.js'

export const render = () => ({ text: heading('home'), user: requestInfo.getStore()?.user, pageInstance: instance })
