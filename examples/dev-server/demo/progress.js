// Progress: a line that is redrawn on a terminal, and a line every five seconds elsewhere.

export function startProgress(way, seconds, counts) {
  const started = performance.now()
  const line = () => {
    const at = Math.min(seconds, (performance.now() - started) / 1000)
    const bar = '█'.repeat(Math.round((at / seconds) * 20)).padEnd(20, '░')
    return `${way.padEnd(9)} ${bar} ${at.toFixed(0).padStart(2)}/${seconds} s  ${counts.answered} answered, ${counts.failed} failed, ${counts.torn} torn, ${counts.stale} stale, ${counts.generations.size} generations`
  }
  const live = process.stdout.isTTY
  const timer = setInterval(() => process.stdout.write(live ? `\r\x1b[2K${line()}` : `${line()}\n`), live ? 200 : 5000)
  return {
    stop() {
      clearInterval(timer)
      process.stdout.write(`${live ? '\r\x1b[2K' : ''}${line()}\n`)
    },
  }
}
