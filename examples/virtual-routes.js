// Routes as frameworks make them: a virtual module, which Vite's scanner does not look into. What a page imports is discovered when it is first asked for.
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
