import { createFileRoute } from '@tanstack/react-router'
import { probe } from '../probe.js'

export const Route = createFileRoute('/probe')({
  server: { handlers: { GET: () => probe('edit 0', __CONFIG__) } },
})
