import warmswap from 'warmswap/vite'
import { virtualRoutes } from '../virtual-routes.js'
import { framework } from './framework.js'

const routes = virtualRoutes({ '/': '/src/home.js', '/settings': '/src/settings.js' })

export default {
  // WITHOUT_WARMSWAP=1 shows the problem. Each start repeats the late discovery. Omit `discoveries` in your project.
  plugins: [
    process.env.WITHOUT_WARMSWAP ? [] : warmswap({ link: [{ from: 'ssr', to: ['worker'] }], discoveries: false }),
    routes,
    framework(),
  ],
}
