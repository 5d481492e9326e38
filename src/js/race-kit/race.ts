/** One race: all processes that a test starts, and their end. */

import { rmSync } from 'node:fs'
import { basename } from 'node:path'
import { doneWith, keepFolder } from '../keeper/client.js'
import { listenerOf } from '../keeper/tcp-table.js'
import { WarmswapError } from '../native/errors.js'
import { milliseconds, string } from '../native/validate.js'
import { CleanUp } from './clean-up.js'
import { now, sleep } from './clock.js'
import {
  descendsFrom,
  nameProcesses,
  nonceOf,
  ownedProcesses,
  type ProcessFacts,
  runningProcesses,
  signalProcess,
} from './groups.js'
import { RunningHeartbeat } from './heartbeat.js'
import { RequestHistory } from './history.js'
import { reservePort, staysBusy } from './ports.js'
import { checkStartOptions, ManagedInstance, type Surroundings } from './processes.js'
import { RacePoints } from './race-points.js'
import { type Random, seeded } from './random.js'
import { HttpRendezvous } from './rendezvous.js'
import { runSweep } from './sweep.js'
import { Timeline, type TimelineEvent } from './timeline.js'
import type {
  Heartbeat,
  History,
  Instance,
  PointActions,
  Port,
  Race,
  Rendezvous,
  StartOptions,
  SweepOptions,
  SweepReport,
} from './types.js'

export interface RaceOptions {
  seed: number
  /** Folder of this race. Initially empty. */
  folder: string
  /** Aborted when the test's time is up. */
  signal: AbortSignal
  /** Time limit of the test, in milliseconds. */
  timeoutMs: number
  /** Command line that repeats this test, seed included. */
  command: string
  /** Folder for reports and the files of a failed test. */
  artifacts: string
}

/** Share of the test's time limit. The rest is for the assertion and the clean-up. */
const START_SHARE = 0.8
const SWEEP_SHARE = 0.6
/** Time after SIGKILL for processes that have left their group to end, in milliseconds. */
const KILL_ROUNDS = 100
const KILL_PAUSE_MS = 10

export class RunningRace implements Race {
  readonly seed: number
  readonly #random: Random
  readonly #instances: ManagedInstance[] = []
  readonly #ports = new Set<number>()
  /** All nonces of this race, and the incarnation of each. */
  readonly #nonces = new Map<string, ManagedInstance>()
  readonly #outlived: string[] = []
  #heartbeats = 0
  readonly #cleanUp = new CleanUp()
  /** After all processes that may listen there have ended. */
  readonly #portCleanUp = new CleanUp()
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
    keepFolder(options.folder)
    const timeline = new Timeline()
    return new RunningRace(options, await RacePoints.open(options.folder, timeline, options.signal), timeline)
  }

  async start(options: StartOptions): Promise<Instance> {
    if (process.platform === 'win32')
      throw new WarmswapError(
        'ERR_UNSUPPORTED',
        "race.start() needs process groups and signals, which Windows does not have: skip this test there with test.skipIf(process.platform === 'win32')",
      )
    const instance = new ManagedInstance(this.#nameOf(checkStartOptions(options)), options, this.#surroundings)
    this.#instances.push(instance)
    this.#cleanUp.add(() => instance.kill())
    await instance.start()
    return instance
  }

  async port(): Promise<Port> {
    const port = await reservePort(this.#random)
    this.#ports.add(port.number)
    // Checked while the port is still reserved: otherwise the next holder's server would be mistaken for a leak.
    this.#portCleanUp.add(async () => {
      const taken = await this.#busyPorts([port.number])
      await port.release()
      if (taken.length > 0) throw new Error(taken[0])
    })
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
    this.#heartbeats += 1
    const heartbeat = new RunningHeartbeat(
      options,
      this.timeline,
      this.#heartbeats === 1 ? 'heartbeat' : `heartbeat#${this.#heartbeats}`,
    )
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

  /** All events of all processes. */
  events(): TimelineEvent[] {
    return this.timeline.merged(this.points.events())
  }

  /** The output of every instance, for the files of a failed test. */
  outputs(): { name: string; stdout: string; stderr: string }[] {
    return this.#instances.map(({ name, output }) => ({ name, ...output }))
  }

  /** Planned points that were not reached, for messages. */
  unreached(): string | undefined {
    const unreached = this.points.unreached()
    return unreached.length === 0
      ? undefined
      : `planned and never reached: ${unreached.join(', ')}; ${this.points.reached()}`
  }

  /** Processes and ports that are still in use and belong to no running instance. */
  async leaks(): Promise<string[]> {
    const processes = this.#strays().map((each) => `process ${nameProcesses([each])} belongs to no running instance`)
    return [...this.#outlived, ...processes, ...(await this.#busyPorts(this.#ports))]
  }

  #strays(): ProcessFacts[] {
    const groups = new Set(this.#instances.flatMap(({ group }) => group ?? []))
    const running = runningProcesses()
    const members = new Set(running.filter(({ group }) => groups.has(group)).map(({ pid }) => pid))
    return this.#owned(groups).filter((each) => !members.has(each.pid) && !descendsFrom(each, members, running))
  }

  /** Without those that `killDetached: false` leaves running. */
  #owned(groups: ReadonlySet<number>): ProcessFacts[] {
    return ownedProcesses(groups, this.options.folder).filter((each) => !this.#isLeftRunning(each))
  }

  #isLeftRunning({ pid, session }: ProcessFacts): boolean {
    const nonce = nonceOf(pid)
    const instance = nonce === undefined ? undefined : this.#nonces.get(nonce)
    return instance !== undefined && !instance.killsDetached && !instance.hasLed(session)
  }

  /** The reserved ports with a listener although no instance runs. */
  async #busyPorts(ports: Iterable<number>): Promise<string[]> {
    if (this.#instances.some(({ group }) => group !== undefined)) return []
    const taken: string[] = []
    for (const number of ports) {
      if (await staysBusy(number))
        taken.push(`port ${number} is taken by process ${listenerOf(number) ?? '(unknown)'} though no instance runs`)
    }
    return taken
  }

  /** Processes that have left their group, and their forks while they are killed. */
  async #killMarked(): Promise<void> {
    for (let round = 0; round < KILL_ROUNDS; round += 1) {
      const left = this.#owned(new Set())
      if (left.length === 0) return
      for (const { pid } of left) signalProcess(pid, 'SIGKILL')
      await sleep(KILL_PAUSE_MS)
    }
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
   * Ends all processes, the last started first. Resolves with the problems: leaks, planned points that were never
   * reached (reported only for a test that passed), and errors of the clean-up itself.
   */
  async close(passed: boolean): Promise<unknown[]> {
    const strays = this.#strays()
    this.#stop.abort(new WarmswapError('ERR_CLOSED', 'the race is over'))
    const errors = await this.#cleanUp.run()
    const outlived = [
      ...this.#outlived,
      ...strays.map(
        (each) => `process ${nameProcesses([each])} left its group and outlived the instance that started it`,
      ),
    ]
    if (outlived.length > 0) errors.unshift(new Error(`left behind, and killed now: ${outlived.join('; ')}`))
    await this.#killMarked()
    const running = ownedProcesses(new Set(), this.options.folder)
    if (running.length > 0) console.error(`left running (killDetached: false): ${nameProcesses(running)}`)
    errors.push(...(await this.#portCleanUp.run()))
    const unreached = this.unreached()
    if (passed && unreached !== undefined) errors.push(new Error(unreached))
    await this.points.close()
    rmSync(this.options.folder, { recursive: true, force: true })
    doneWith(this.options.folder)
    return errors
  }
}
