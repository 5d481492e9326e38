import { emphasis } from 'theme'
export const field = (name) => `[${emphasis(name)}]`
