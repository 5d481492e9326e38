import { cloudflare } from '@cloudflare/vite-plugin'
import warmswap from 'warmswap/vite'
import { virtualRoutes } from '../virtual-routes.js'

const routes = virtualRoutes({ '/': '/src/home.js', '/settings': '/src/settings.js' })

export default { plugins: [warmswap({ discoveries: false }), routes, cloudflare()] }
