'use client'
import { useState } from 'react'

export function Counter() {
  const [count, set] = useState(0)
  return (
    <button type="button" onClick={() => set(count + 1)}>
      {count}
    </button>
  )
}
