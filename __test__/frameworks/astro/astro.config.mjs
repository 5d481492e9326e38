import cloudflare from '@astrojs/cloudflare'
import react from '@astrojs/react'
import { defineConfig } from 'astro/config'
import warmswap from 'warmswap/vite'

export default defineConfig({
  output: 'server',
  adapter: cloudflare(),
  integrations: [react()],
  devToolbar: { enabled: false },
  vite: { plugins: [process.env.WITHOUT_WARMSWAP ? undefined : warmswap()] },
})
