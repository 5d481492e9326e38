import { z } from 'zod'
import type { Answer } from '../index.js'

declare const REVISION: number

const Order = z.object({ id: z.number().int(), item: z.string(), pieces: z.number().positive() })

export function answer(): Answer {
  return { revision: REVISION, body: [1, 2, 3].map((id) => Order.parse({ id, item: `item ${id}`, pieces: id * 2 })) }
}
