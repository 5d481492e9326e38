// A library with a module-level identity, used by ui-kit and by forms.
export const instance = Math.random()
export const emphasis = (text) => `*${text}*`
