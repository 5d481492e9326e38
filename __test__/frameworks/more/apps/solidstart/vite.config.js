import { solidStart } from '@solidjs/start/config'
import warmswap from 'warmswap/vite'

export default { plugins: [warmswap(), solidStart()], define: { __CONFIG__: '"config 0"' } }
