/** Cancels one request. Its AbortSignal exists only if it is used: a request of `dispatch()` has two of them otherwise. */
export class Cancellation {
  private controller: AbortController | undefined
  private readonly listeners: (() => void)[] = []
  private why: unknown

  /** Whether cancel() was called. */
  isCancelled = false

  get reason(): unknown {
    return this.why
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController()
      if (this.isCancelled) this.controller.abort(this.why)
    }
    return this.controller.signal
  }

  /** Calls `listener` when the request is cancelled, immediately if it was. Listeners end with the request. */
  onCancel(listener: () => void): void {
    if (this.isCancelled) listener()
    else this.listeners.push(listener)
  }

  cancel(reason?: unknown): void {
    if (this.isCancelled) return
    this.isCancelled = true
    this.why = reason
    this.controller?.abort(reason)
    for (const listener of this.listeners) listener()
  }
}
