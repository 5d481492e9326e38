import { probe } from '../../server/probe.js'

export const data = async () => ({ text: await probe('edit 0', __CONFIG__).text() })
