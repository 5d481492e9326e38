import { probe } from '../utils/probe.js'

export default defineEventHandler((event) => probe('edit 0', useRuntimeConfig(event).mark))
