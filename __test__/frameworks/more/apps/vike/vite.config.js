import react from '@vitejs/plugin-react'
import vike from 'vike/plugin'
import warmswap from 'warmswap/vite'

export default { plugins: [warmswap(), vike(), react()], define: { __CONFIG__: '"config 0"' } }
