// Routes as frameworks create them: a virtual module, which Vite's scanner does not read. The imports of a page are
// discovered when the page is first requested.
const ID = 'virtual:routes'

/** `export const routes = { '/': () => import('/src/home.js'), … }` */
export function virtualRoutes(routes) {
  return {
    name: 'example:virtual-routes',
    resolveId: (id) => (id === ID ? `\0${ID}` : undefined),
    load: (id) => {
      if (id !== `\0${ID}`) return undefined
      const entries = Object.entries(routes).map(
        ([path, file]) => `${JSON.stringify(path)}: () => import(${JSON.stringify(file)})`,
      )
      return `export const routes = { ${entries.join(', ')} }`
    },
  }
}
