// Sends a folder to any HTTP server and back with fetch.
import { pack, unpack } from 'warmswap'

export async function save(url, from) {
  const response = await fetch(url, { method: 'PUT', body: pack(from), duplex: 'half' })
  if (!response.ok) throw new Error(`PUT ${url}: ${response.status}`)
}

export async function restore(url, into, { deadlineMs = 15_000 } = {}) {
  const response = await fetch(url, { signal: AbortSignal.timeout(deadlineMs) })
  if (!response.ok) return { ok: false, outcome: response.status === 404 ? 'miss' : 'unavailable' }
  return unpack(response.body, into, { mode: 'replace', deadlineMs })
}
