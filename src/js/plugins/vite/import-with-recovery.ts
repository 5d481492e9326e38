/** Importing through a module runner, and using what was imported, over a re-optimization. */

import type { DevEnvironment } from 'vite'
import type { ModuleRunner } from 'vite/module-runner'
import { invalidArgument, WarmswapError } from '../../native/errors.js'
import * as validate from '../../native/validate.js'
import { Attempts, DEFAULT_ATTEMPTS, hopeless, staleIn } from './attempts.js'
import { fileOf } from './optimizer.js'
import { recoveryOf } from './recovery-options.js'
import { resolveOptimizedId } from './resolve-optimized-id.js'

/** Options of importWithRecovery(). */
export interface ImportWithRecoveryOptions<M, T> {
  /**
   * The runner that imports: any object whose `import(url)` reaches the environment's runner. @default the
   * environment's own runner, looked up at each attempt
   */
  runner?: ModuleRunner
  /** Uses the module. Repeated together with the import. @default returns the module */
  use?: (module: M) => T | Promise<T>
  /** Number of attempts, the first included. @default that of the staleDepRecovery plugin, else 3 */
  maxAttempts?: number
  /** Stops the attempts. The call rejects with the signal's reason. */
  signal?: AbortSignal
}

/**
 * Imports a module through a runner and calls `use` on it. If a dependency becomes stale in between, both are repeated
 * from the entry: the failing import is often a dynamic one inside `use`, and only a new entry has the new graph. So
 * `use` must be safe to call up to `maxAttempts` times.
 *
 * An import of a ghost (see {@link resolveOptimizedId}) is retried under the current id.
 *
 * @param environment The environment, taken from `server.environments` at each call.
 * @param url Module to import.
 * @param options What to do with the module, and how often to try.
 * @returns What `use` returned.
 * @throws The error of `use` or of the import, if it is not caused by a stale dependency.
 * @throws {WarmswapError} ERR_NOT_READY with the id and both hashes when no attempts are left; ERR_CLOSED if the
 * environment belongs to a server that was closed or restarted.
 */
// biome-ignore lint/suspicious/noExplicitAny: the type of a module without a type argument, as of Vite's own import().
export async function importWithRecovery<M = any, T = M>(
  environment: DevEnvironment,
  url: string,
  options?: ImportWithRecoveryOptions<M, T>,
): Promise<T> {
  if (typeof environment?.name !== 'string')
    throw invalidArgument('environment', environment, 'a DevEnvironment, as in server.environments')
  validate.string('url', url)
  const given = validate.options('options', options, ['runner', 'use', 'maxAttempts', 'signal'])
  const { use = (module: M) => module as unknown as T } = given
  validate.callback('options.use', use)
  const signal = validate.signal('options.signal', given.signal)
  const care = recoveryOf(environment)
  const report = care?.recovery.onEvent ?? (() => {})
  const attempts = new Attempts(
    validate.wholeNumber('options.maxAttempts', given.maxAttempts ?? care?.recovery.maxAttempts ?? DEFAULT_ATTEMPTS, 1),
  )

  let target = url
  for (;;) {
    attempts.begin([environment])
    try {
      const runner = given.runner ?? runnerOf(environment)
      const attempt = async (): Promise<T> => use(await runner.import<M>(target))
      const result = await unless(attempt, { environment, closed: care?.closed.signal, signal })
      if (attempts.last) report(attempts.event('recovered'))
      return result
    } catch (error) {
      const failure = staleIn([environment], error)
      if (failure === undefined) throw error
      if (!(await attempts.another(failure))) {
        report(attempts.event('gave-up'))
        throw new WarmswapError('ERR_NOT_READY', hopeless(attempts, `importing '${url}'`), { cause: error })
      }
      const current = resolveOptimizedId(environment, url)
      const isGhost = current !== undefined && fileOf(current) === fileOf(failure.stale.id as string)
      if (isGhost) target = current
      report(attempts.event(isGhost ? 'resolved-ghost' : 'retry'))
    }
  }
}

function runnerOf(environment: DevEnvironment): ModuleRunner {
  const { runner } = environment as { runner?: ModuleRunner }
  if (typeof runner?.import !== 'function')
    throw invalidArgument(
      'options.runner',
      undefined,
      `a runner: the environment '${environment.name}' has none in this process`,
    )
  return runner
}

interface Ends {
  environment: DevEnvironment
  closed: AbortSignal | undefined
  signal: AbortSignal | undefined
}

/**
 * Runs the attempt until it is aborted or its environment is closed: a runner of a closed environment may answer after
 * 60 s or never.
 */
async function unless<T>(attempt: () => Promise<T>, { environment, closed, signal }: Ends): Promise<T> {
  signal?.throwIfAborted()
  // Vite's own mark, for environments without the plugin.
  if (closed?.aborted || (environment as unknown as { _closing?: boolean })._closing === true)
    throw closedError(environment)
  const done = new AbortController()
  const ended = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { signal: done.signal })
    closed?.addEventListener('abort', () => reject(closedError(environment)), { signal: done.signal })
  })
  try {
    return await Promise.race([attempt(), ended])
  } finally {
    done.abort()
  }
}

function closedError(environment: DevEnvironment): WarmswapError {
  return new WarmswapError(
    'ERR_CLOSED',
    `the environment '${environment.name}' belongs to a server that was closed or restarted: take it from server.environments at each call`,
  )
}
