import { cloudflare } from '@cloudflare/vite-plugin'
import warmswap from 'warmswap/vite'

export default { plugins: [warmswap(), cloudflare({ inspectorPort: false })], define: { __CONFIG__: '"config 0"' } }
