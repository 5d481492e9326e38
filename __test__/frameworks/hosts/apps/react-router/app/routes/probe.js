import { probe } from '../probe.server.js'

export const loader = () => probe('edit 0', __CONFIG__)
