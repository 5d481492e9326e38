/** Preloaded by workers of a build: they see its work directory at the configured path. */

import { redirectImports } from './modules.js'
import { showInThread, type View } from './views.js'

const views = new URL(import.meta.url).searchParams.get('views')
if (views !== null) {
  showInThread(JSON.parse(views) as View[])
  redirectImports()
}
