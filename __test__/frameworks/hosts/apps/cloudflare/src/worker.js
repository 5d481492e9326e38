import { probe } from './probe.js'

export default { fetch: () => probe('edit 0', __CONFIG__) }
