// What `ssr` offers to `worker`.
export * as kit from 'ui-kit'
export { routes } from 'virtual:routes'
