/** What k failures in n samples imply about the failure probability. */

/** Quantile 97.5 % of the normal distribution, for two-sided 95 % intervals. */
const Z_95 = 1.959964

/**
 * Wilson's score interval (Wilson 1927, JASA 22:209–212). Unlike the textbook interval it is not empty at 0 of n: five
 * good samples still allow for a failure rate of 43 %.
 */
export function wilson(failures: number, samples: number, z: number = Z_95): [number, number] {
  if (samples === 0) return [0, 1]
  const rate = failures / samples
  const squared = z * z
  const centre = (rate + squared / (2 * samples)) / (1 + squared / samples)
  const half =
    (z / (1 + squared / samples)) * Math.sqrt((rate * (1 - rate)) / samples + squared / (4 * samples * samples))
  return [failures === 0 ? 0 : Math.max(0, centre - half), failures === samples ? 1 : Math.min(1, centre + half)]
}

/**
 * Number of samples without a failure that is needed to state 'works in at least `confidence` of all cases' with that
 * confidence: 0.95 takes 59 (Clopper–Pearson: confidence ** n ≤ 1 − confidence).
 */
export function samplesFor(confidence: number): number {
  return Math.ceil(Math.log(1 - confidence) / Math.log(confidence))
}

/** The greatest such confidence that n samples without a failure support, rounded down to 0.1 %: 0.95 at n = 59. */
export function supportedConfidence(samples: number): number {
  let low = 0
  let high = 1
  while (high - low > 1e-6) {
    const middle = (low + high) / 2
    if (samplesFor(middle) <= samples) low = middle
    else high = middle
  }
  return Math.floor(low * 1000) / 1000
}

/**
 * The value below which the share `q` of the values lies. For an even number of values, the lower of the two
 * candidates.
 */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}
