import { sveltekit } from '@sveltejs/kit/vite'
import warmswap from 'warmswap/vite'

export default { plugins: [warmswap(), sveltekit()], define: { __CONFIG__: '"config 0"' } }
