import { cloudflare } from '@cloudflare/vite-plugin'
import { redwood } from 'rwsdk/vite'
import warmswap from 'warmswap/vite'

export default {
  plugins: [
    process.env.WITHOUT_WARMSWAP ? undefined : warmswap(),
    cloudflare({ viteEnvironment: { name: 'worker' }, inspectorPort: false }),
    redwood(),
  ],
}
