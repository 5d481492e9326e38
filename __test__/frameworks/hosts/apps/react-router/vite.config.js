import { reactRouter } from '@react-router/dev/vite'
import warmswap from 'warmswap/vite'

export default { plugins: [warmswap(), reactRouter()], define: { __CONFIG__: '"config 0"' } }
