import { probe } from '../probe.js'

export const GET = () => probe('edit 0', __CONFIG__)
