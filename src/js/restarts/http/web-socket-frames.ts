/** Finds where the frames of a WebSocket (RFC 6455) end, so that a frame of the coordinator can follow. */

/** "Service Restart": clients connect again. */
export const SERVICE_RESTART = 1012

export class WebSocketFrames {
  /** Bytes of the current frame that are still to come. */
  private left = 0
  private head = Buffer.alloc(0)

  /** Whether the last byte ended a frame. */
  get isBetweenFrames(): boolean {
    return this.left === 0 && this.head.length === 0
  }

  push(bytes: Buffer): void {
    for (let rest = bytes; rest.length > 0; ) {
      if (this.left > 0) {
        const taken = Math.min(this.left, rest.length)
        this.left -= taken
        rest = rest.subarray(taken)
        continue
      }
      const before = this.head.length
      this.head = Buffer.concat([this.head, rest.subarray(0, LONGEST_HEAD - before)])
      const frame = frameOf(this.head)
      if (frame === undefined) return
      rest = rest.subarray(frame.head - before)
      this.left = frame.payload
      this.head = Buffer.alloc(0)
    }
  }
}

const LONGEST_HEAD = 14

/** The lengths of a frame. Undefined until its head is complete. */
function frameOf(bytes: Buffer): { head: number; payload: number } | undefined {
  if (bytes.length < 2) return undefined
  const second = bytes[1] as number
  const short = second & 0x7f
  const extra = short === 126 ? 2 : short === 127 ? 8 : 0
  const head = 2 + extra + (second & 0x80 ? 4 : 0)
  if (bytes.length < head) return undefined
  const payload = extra === 0 ? short : extra === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  return { head, payload }
}

/** A close frame of a server. */
export function closeFrame(code: number, reason: string): Buffer {
  const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)])
  return Buffer.concat([Buffer.from([0x88, payload.length]), payload])
}
