/** Text and numbers in a page. */

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** Rounds coordinates to a hundredth: a page of thousands of marks stays small. */
export function at(value: number): string {
  return String(Math.round(value * 100) / 100)
}

/** Round steps for about `count` marks on an axis of this length. */
export function ticks(length: number, count: number): number[] {
  const raw = Math.max(length, 1e-9) / count
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw) as number
  return Array.from({ length: Math.floor(length / step + 1e-9) + 1 }, (_, index) => index * step)
}
