import { createContext, useContext, useState } from 'react'

const Label = createContext('count')

export default function Counter() {
  const [count, set] = useState(0)
  return (
    <button type="button" onClick={() => set(count + 1)}>
      {useContext(Label)} {count}
    </button>
  )
}
