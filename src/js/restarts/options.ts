/** Options that processes and threads have in common. */

import { invalidArgument } from '../native/errors.js'
import { string } from '../native/validate.js'

/** Variables of a worker. `undefined` removes one of this process's. */
export type WorkerEnv = Record<string, string | undefined>

export function checkedEnv(env: unknown): WorkerEnv {
  if (typeof env !== 'object' || env === null || Array.isArray(env))
    throw invalidArgument('options.env', env, 'an object of strings')
  for (const [name, value] of Object.entries(env)) if (value !== undefined) string(`options.env.${name}`, value)
  return env as WorkerEnv
}

/** The port that a program gets from its options, for a worker that listens. */
export function givenPort({ PORT }: WorkerEnv): number | undefined {
  if (PORT === undefined) return undefined
  const port = Number(PORT)
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw invalidArgument('options.env.PORT', PORT, 'a port from 1 to 65535')
  return port
}
