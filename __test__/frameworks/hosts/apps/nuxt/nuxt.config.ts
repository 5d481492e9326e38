import warmswap from 'warmswap/vite'

export default { telemetry: false, vite: { plugins: [warmswap()] }, runtimeConfig: { mark: 'config 0' } }
