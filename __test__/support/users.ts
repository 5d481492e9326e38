/** Users of this machine. */

export const isRoot = process.getuid?.() === 0
