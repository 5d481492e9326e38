import { groupBy, sumBy } from 'lodash-es'
import type { Answer } from '../index.js'

declare const REVISION: number

const prices = [
  { group: 'fruit', price: 3 },
  { group: 'fruit', price: 4 },
  { group: 'bread', price: 2 },
]

export function answer(): Answer {
  const groups = Object.entries(groupBy(prices, 'group'))
  return { revision: REVISION, body: groups.map(([group, all]) => ({ group, sum: sumBy(all, 'price') })) }
}
