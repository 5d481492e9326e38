import { route } from '@react-router/dev/routes'

export default [route('probe', 'routes/probe.js')]
