// The operations `ensure/…` of the conformance program of warmswap itself: a lease is a call of cache.ensure() whose build,
// or of prewarm() whose run, lasts until the runner publishes or fails it.
import { cpSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { openCache, prewarm } from 'warmswap'

const calls = []

/** A promise and what settles it. */
function deferred() {
  const facts = {}
  facts.promise = new Promise((resolve, reject) => Object.assign(facts, { resolve, reject }))
  facts.promise.catch(() => {})
  return facts
}

export function ensureOperations(Refused) {
  /** One lease: what a build waits for, and what its caller is answered. */
  class Call {
    held = deferred()
    finish = deferred()
    ended = deferred()
    #controller = new AbortController()
    #holds = false
    #timer

    constructor(facts) {
      Object.assign(this, facts)
      const call = this.fingerprint === undefined ? this.#prewarm() : this.#ensure()
      call.then(
        (role) => this.#settle(role === 'restored' ? new Refused('ready', role) : undefined),
        (error) => this.#settle(error),
      )
    }

    #settle(error) {
      this.ended[error === undefined ? 'resolve' : 'reject'](error)
      this.held.reject(error ?? new Refused('ready', 'it was ready'))
    }

    async #ensure() {
      const cache = openCache(pathToFileURL(this.store).href)
      const { role } = await cache.ensure(this.key, {
        fingerprint: this.fingerprint,
        into: join(this.store, '..', `into-${process.pid}-${calls.length}`),
        ttlMs: this.ttlMs,
        signal: this.#controller.signal,
        onEvent: (event) => event.kind === 'waiting' && this.#waits(),
        build: async ({ dir, lock, alone }) => {
          if (alone !== undefined) throw this.#refuse('incompatible', alone)
          await this.#hold({ lock }, () => cpSync(this.from, dir, { recursive: true }))
        },
      })
      return role
    }

    async #prewarm() {
      let isReady = false
      const { role } = await prewarm(
        pathToFileURL(join(this.store, this.key)).href,
        {
          isReady: () => isReady,
          run: (lock) => this.#hold({ lock, generation: lock.generation }, () => (isReady = true)),
        },
        { leaseTtlMs: this.ttlMs, signal: this.#controller.signal, onWait: () => this.#waits() },
      )
      return role
    }

    async #hold(facts, publish) {
      // A second build of one call: the first one lost its lease.
      if (this.#holds) throw this.#refuse('lost', 'the lease was lost')
      this.#holds = true
      clearTimeout(this.#timer)
      this.held.resolve(facts)
      const failure = await this.finish.promise
      if (failure === undefined) return publish()
      if (failure.message === undefined) this.#controller.abort(new Refused('given-up', ''))
      throw new Error(failure.message)
    }

    #waits() {
      if (this.#holds) this.#refuse('lost', 'another caller holds the lease')
      else this.#timer ??= setTimeout(() => this.#refuse('busy', 'the lease is held'), this.waitMs)
    }

    #refuse(kind, message) {
      const refused = new Refused(kind, message)
      this.#controller.abort(refused)
      return refused
    }
  }

  const recordOf = ({ store, key, fingerprint }) => {
    const folder = join(store, key, '.warmswap-ensure')
    const records = readdirSync(folder).map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')))
    return records.find((record) => record.fingerprint === (fingerprint ?? ''))
  }

  return {
    'ensure/acquire': async (facts) => {
      const call = new Call(facts)
      const { lock, generation } = await call.held.promise
      calls.push(Object.assign(call, { lock }))
      return { lease: calls.length, ...(generation === undefined ? {} : { generation }) }
    },
    'ensure/renew': async ({ lease, phase }) => {
      const call = calls[lease - 1]
      call.lock.progress(phase)
      // The next renewal writes it.
      while (recordOf(call).phase !== phase) await sleep(10)
      return {}
    },
    'ensure/publish': async ({ lease, from }) => {
      const call = Object.assign(calls[lease - 1], { from })
      // Seeded fault: a publish without the condition.
      if (process.env.CONFORMANCE_BUG === 'publish-always') return {}
      call.finish.resolve(undefined)
      await call.ended.promise
      return {}
    },
    'ensure/fail': async ({ lease, message }) => {
      const call = calls[lease - 1]
      call.finish.resolve({ message })
      await call.ended.promise.catch((error) => {
        if (error.kind === 'lost') throw error
      })
      return {}
    },
    'ensure/inspect': (facts) => {
      const { state, phase, holder, failure } = recordOf(facts)
      return { state, phase, pid: holder.pid, ...(failure === undefined ? {} : { failure }) }
    },
  }
}
