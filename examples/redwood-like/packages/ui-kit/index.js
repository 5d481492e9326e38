import { emphasis, instance } from 'theme'
export { instance }
export const heading = (text) => `# ${emphasis(text)}`
