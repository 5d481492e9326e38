import { tanstackStart } from '@tanstack/react-start/plugin/vite'
import react from '@vitejs/plugin-react'
import warmswap from 'warmswap/vite'

export default { plugins: [warmswap(), tanstackStart(), react()], define: { __CONFIG__: '"config 0"' } }
