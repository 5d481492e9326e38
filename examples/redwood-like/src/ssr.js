// The exports of `ssr` for `worker`.
export * as kit from 'ui-kit'
export { routes } from 'virtual:routes'
