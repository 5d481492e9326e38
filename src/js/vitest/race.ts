/** One race: everything a test starts, and its end. */

import { rmSync } from 'node:fs'
import { basename } from 'node:path'
import { WarmswapError } from '../errors.js'
import { milliseconds, string } from '../validate.js'
import { CleanUp } from './clean-up.js'
import { now } from './clock.js'
import { type ProcessFacts, descendsFrom, livingProcesses, nameProcesses, ownedProcesses, signalProcess } from './groups.js'
import { RunningHeartbeat } from './heartbeat.js'
import { RequestHistory } from './history.js'
import { tellKeeper } from './keeper-client.js'
import { isFree, listenerOf, reservePort } from './ports.js'
import { ManagedInstance, type Surroundings, checkStartOptions } from './processes.js'
import { RacePoints } from './race-points.js'
import { type Random, seeded } from './random.js'
import { HttpRendezvous } from './rendezvous.js'
import { runSweep } from './sweep.js'
import { Timeline, type TimelineEvent } from './timeline.js'
import type { Heartbeat, History, Instance, PointActions, Port, Race, Rendezvous, StartOptions, SweepOptions, SweepReport } from './types.js'

export interface RaceOptions {
  seed: number
  /** Empty, and this race's alone. */
  folder: string
  /** Aborted when the test's time is up. */
  signal: AbortSignal
  /** The test's time. */
  timeoutMs: number
  /** Repeats this test, seed included. */
  command: string
  /** Where reports and what a failure leaves are written. */
  artifacts: string
}

/** Of the test's time: the rest is for the assertion and the clean-up. */
const START_SHARE = 0.8
const SWEEP_SHARE = 0.6

export class RunningRace implements Race {
  readonly seed: number
  readonly #random: Random
  readonly #instances: ManagedInstance[] = []
  readonly #ports = new Set<number>()
  /** Every nonce ever given out, and to whom. */
  readonly #nonces = new Map<string, ManagedInstance>()
  readonly #outlived: string[] = []
  readonly #cleanUp = new CleanUp()
  readonly #stop = new AbortController()
  readonly #surroundings: Surroundings
  readonly #deadline: number

  private constructor(
    private readonly options: RaceOptions,
    private readonly points: RacePoints,
    private readonly timeline: Timeline,
  ) {
    this.seed = options.seed
    this.#random = seeded(options.seed)
    this.#deadline = now() + options.timeoutMs
    this.#surroundings = {
      folder: options.folder,
      timeline,
      random: this.#random,
      signal: AbortSignal.any([options.signal, this.#stop.signal]),
      startLimitMs: Math.round(options.timeoutMs * START_SHARE),
      onNonce: (nonce, instance) => this.#nonces.set(nonce, instance),
      onOutlived: (name, left) => this.#outlived.push(`'${name}' left ${nameProcesses(left)}`),
    }
  }

  static async open(options: RaceOptions): Promise<RunningRace> {
    tellKeeper({ folder: options.folder })
    const timeline = new Timeline()
    return new RunningRace(options, await RacePoints.open(options.folder, timeline, options.signal), timeline)
  }

  async start(options: StartOptions): Promise<Instance> {
    const instance = new ManagedInstance(this.#nameOf(checkStartOptions(options)), options, this.#surroundings)
    this.#instances.push(instance)
    this.#cleanUp.add(() => instance.kill())
    await instance.start()
    return instance
  }

  async port(): Promise<Port> {
    const port = await reservePort(this.#random)
    this.#ports.add(port.number)
    this.#cleanUp.add(() => port.release())
    return port
  }

  async rendezvous(name: string): Promise<Rendezvous> {
    const rendezvous = await HttpRendezvous.open(string('name', name), this.timeline, this.#surroundings.signal)
    this.#cleanUp.add(() => rendezvous.close())
    return rendezvous
  }

  at(name: string, hit?: number): PointActions {
    return this.points.at(name, hit)
  }

  heartbeat(options: { every: number; beat(signal: AbortSignal): Promise<void> }): Heartbeat {
    const heartbeat = new RunningHeartbeat(options, this.timeline)
    this.#cleanUp.add(() => heartbeat.stop())
    return heartbeat
  }

  async sweep<T>(options: SweepOptions<T>): Promise<SweepReport> {
    const left = Math.max(0, this.#deadline - now())
    return await runSweep(options, {
      random: this.#random,
      signal: this.#surroundings.signal,
      timeline: this.timeline,
      identify: (nonce) => this.#identify(nonce),
      budgetMs: milliseconds('options.budgetMs', options.budgetMs ?? left * SWEEP_SHARE),
      command: this.options.command,
      seed: this.seed,
      artifacts: this.options.artifacts,
      events: () => this.events(),
    })
  }

  history<Q, A>(): History<Q, A> {
    return new RequestHistory<Q, A>()
  }

  /** Everything that happened, of all processes. */
  events(): TimelineEvent[] {
    return this.timeline.merged(this.points.events())
  }

  /** The output of every instance, for what a failure leaves. */
  outputs(): { name: string; stdout: string; stderr: string }[] {
    return this.#instances.map(({ name, output }) => ({ name, ...output }))
  }

  /** What is alive or taken and belongs to no running instance. */
  async leaks(): Promise<string[]> {
    const processes = this.#strays().map((each) => `process ${nameProcesses([each])} belongs to no running instance`)
    return [...this.#outlived, ...processes, ...(await this.#takenPorts())]
  }

  #strays(): ProcessFacts[] {
    const groups = new Set(this.#instances.flatMap(({ group }) => group ?? []))
    const living = livingProcesses()
    const members = new Set(living.filter(({ group }) => groups.has(group)).map(({ pid }) => pid))
    return ownedProcesses(groups, this.options.folder).filter((each) => !members.has(each.pid) && !descendsFrom(each, members, living))
  }

  async #takenPorts(): Promise<string[]> {
    if (this.#instances.some(({ group }) => group !== undefined)) return []
    const taken: string[] = []
    for (const number of this.#ports) {
      if (!(await isFree(number))) taken.push(`port ${number} is taken by process ${listenerOf(number) ?? '(unknown)'} though no instance runs`)
    }
    return taken
  }

  #identify(nonce: string): 'current' | 'former' | 'stranger' {
    const instance = this.#nonces.get(nonce)
    if (instance === undefined) return 'stranger'
    return instance.nonce === nonce ? 'current' : 'former'
  }

  #nameOf({ command }: StartOptions): string {
    const words = typeof command === 'string' ? command.split(/\s+/) : command
    const program = words.find((word, index) => index > 0 && /\.[cm]?[jt]s$/.test(word)) ?? words[0] ?? ''
    const name = basename(program).replace(/\.\w+$/, '')
    const same = this.#instances.filter((each) => each.name.split('#')[0] === name).length
    return same === 0 ? name : `${name}#${same + 1}`
  }

  /**
   * Ends everything, the last started first. Resolves with what went wrong in doing so: leaks, points that were planned
   * and never reached (only worth saying of a test that passed), and errors of the clean-up itself.
   */
  async close(passed: boolean): Promise<unknown[]> {
    const strays = this.#strays()
    this.#stop.abort(new WarmswapError('ERR_CLOSED', 'the race is over'))
    const errors = await this.#cleanUp.run()
    const outlived = [...this.#outlived, ...strays.map((each) => `process ${nameProcesses([each])} left its group and outlived the instance that started it`)]
    if (outlived.length > 0) errors.unshift(new Error(`left behind, and killed now: ${outlived.join('; ')}`))
    for (const { pid } of ownedProcesses(new Set(), this.options.folder)) signalProcess(pid, 'SIGKILL')
    errors.push(...(await this.#takenPorts()).map((taken) => new Error(taken)))
    const unreached = this.points.unreached()
    if (passed && unreached.length > 0) errors.push(new Error(`planned and never reached: ${unreached.join(', ')}; ${this.points.reached()}`))
    await this.points.close()
    rmSync(this.options.folder, { recursive: true, force: true })
    tellKeeper({ done: this.options.folder })
    return errors
  }
}
