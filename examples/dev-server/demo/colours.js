// Colours on a terminal that has them, unless NO_COLOR is set.
const isColoured = process.stdout.isTTY && process.stdout.hasColors() && !process.env.NO_COLOR
const paint = (code) => (text) => (isColoured ? `\x1b[${code}m${text}\x1b[0m` : text)

export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)
export const yellow = paint(33)
