import node from '@astrojs/node'
import { defineConfig } from 'astro/config'
import warmswap from 'warmswap/vite'

export default defineConfig({
  output: 'server',
  adapter: node({ mode: 'standalone' }),
  devToolbar: { enabled: false },
  vite: { plugins: [warmswap()], define: { __CONFIG__: '"config 0"' } },
})
