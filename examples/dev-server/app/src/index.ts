/** The handlers of the app. Each route is a chunk of its own that is imported when it is first asked for. */

declare const REVISION: number

export interface Answer {
  /** The revision of the sources that this chunk was built from. */
  revision: number
  body: unknown
}

const routes: Record<string, () => Promise<{ answer(): Answer }>> = {
  '/calendar': () => import('./routes/calendar.js'),
  '/orders': () => import('./routes/orders.js'),
  '/page': () => import('./routes/page.js'),
  '/prices': () => import('./routes/prices.js'),
}

export const paths = Object.keys(routes)

/** Answers one request. `entry` and `chunk` differ only if two builds were mixed. */
export async function handle(path: string): Promise<{ entry: number; chunk: number; body: unknown }> {
  const route = routes[path]
  if (route === undefined)
    throw Object.assign(new Error(`no route ${path}; there are ${paths.join(', ')}`), { code: 'NO_ROUTE' })
  const { answer } = await route()
  const { revision, body } = answer()
  return { entry: REVISION, chunk: revision, body }
}
