import { within } from './frames.js'

export const onRequest = ({ url }, next) => within({ id: url.searchParams.get('id') }, next)
