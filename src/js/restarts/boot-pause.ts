/** Pauses between starts of a generation that cannot boot. A new generation is started without one. */

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000

export class BootPause {
  private generation = -1
  private failures = 0
  private until = 0
  private error: unknown

  /** How long this generation has to wait: none after its first failure, then 100 ms, and twice as long each time, up to 5 s. */
  leftMs(generation: number | undefined): number {
    return generation === this.generation ? Math.max(0, this.until - performance.now()) : 0
  }

  /** The error of the last start. */
  get lastError(): unknown {
    return this.error
  }

  failed(generation: number, error: unknown): void {
    this.failures = generation === this.generation ? this.failures + 1 : 1
    this.generation = generation
    this.error = error
    const pauseMs = this.failures === 1 ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.failures - 2))
    this.until = performance.now() + pauseMs
  }

  succeeded(): void {
    this.generation = -1
    this.failures = 0
  }
}
