import { expect } from 'vitest'
import { test } from 'warmswap/vitest'

test('history: lost, twice, and answers that go back in time', ({ race }) => {
  const history = race.history<string, string>()
  const first = history.ask('a')
  const second = history.ask('b')
  history.answer(second, 'B', { incarnation: 2, generation: 7 })
  // Asked before the successor's first answer: an old instance that drains may still answer.
  history.answer(first, 'A', { incarnation: 1, generation: 6 })
  expect(history.check()).toEqual({ lost: [], twice: [], stale: [], backwards: [] })
  expect(history).toAnswerEachOnce()
  expect(history).toNeverGoBackwards()

  const late = history.ask('c')
  history.answer(late, 'C', { incarnation: 1, generation: 6 })
  history.answer(late, 'C', { incarnation: 2 })
  const lost = history.ask('d')
  history.lost(lost, new Error('socket hang up'))
  expect(history.check()).toEqual({ lost: [lost], twice: [late], stale: [late], backwards: [late] })
  expect(() => expect(history).toAnswerEachOnce()).toThrow(/lost: 1 of 4[\s\S]*socket hang up[\s\S]*twice: 1 of 4/)
  expect(() => expect(history).toNeverGoBackwards()).toThrow(/stale: 1 of 4[\s\S]*backwards: 1 of 4/)
})

test('history: an empty one proves nothing, an unknown number is refused', ({ race }) => {
  const history = race.history<string, string>()
  expect(() => expect(history).toAnswerEachOnce()).toThrow(/empty/)
  expect(() => history.answer(3, 'x', {})).toThrow(/Invalid id: 3/)
  expect(() => expect('text').toAnswerEachOnce()).toThrow(/history/)
})

test('history: agrees with a search through all orders (500 random ones)', ({ race }) => {
  let seed = 1
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  for (let round = 0; round < 500; round += 1) {
    const history = race.history<number, number>()
    // A request is a span of moments and the number it was answered with.
    const spans = Array.from({ length: 5 }, () => {
      const [begin, end] = [random(100), random(100)].sort((one, other) => one - other) as [number, number]
      return { begin, end, value: random(4), id: -1 }
    })
    const moments = spans.flatMap((span) => [
      { at: span.begin, span, asked: true },
      { at: span.end, span, asked: false },
    ])
    for (const { span, asked } of moments.sort(
      (one, other) => one.at - other.at || Number(other.asked) - Number(one.asked),
    )) {
      if (asked) span.id = history.ask(0)
      else history.answer(span.id, 0, { generation: span.value })
    }
    const backwards = spans
      .filter((late) => spans.some((early) => early.end < late.begin && early.value > late.value))
      .map(({ id }) => id)
    expect(history.check().backwards).toEqual(backwards.sort((one, other) => one - other))
  }
})
