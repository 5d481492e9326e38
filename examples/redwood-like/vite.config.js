import warmswap from 'warmswap/vite'
import { virtualRoutes } from '../virtual-routes.js'
import { framework } from './framework.js'

const routes = virtualRoutes({ '/': '/src/home.js', '/settings': '/src/settings.js' })

export default {
  // WITHOUT_WARMSWAP=1 shows the trouble.
  plugins: [
    process.env.WITHOUT_WARMSWAP ? [] : warmswap({ link: [{ from: 'ssr', to: ['worker'] }] }),
    routes,
    framework(),
  ],
}
