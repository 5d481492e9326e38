/** The parts of a Vite server that the in-flight rescue uses, without Vite: the test triggers commits and reports. */

import { EventEmitter, once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestOptions,
  type ServerResponse,
  request as sendRequest,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { DevEnvironment, ViteDevServer } from 'vite'
import { onTestFinished } from 'vitest'
import type { StaleDepRecoveryOptions } from 'warmswap/vite'
import { checkRecoveryOptions } from '../../src/js/plugins/vite/recovery-options.js'
import { Requests } from '../../src/js/plugins/vite/requests.js'
import type { Rescue } from '../../src/js/plugins/vite/rescue.js'

export type Next = (error?: unknown) => void
export type Handler = (request: IncomingMessage, response: ServerResponse, next: Next) => unknown
type ErrorHandler = (error: unknown, ...rest: Parameters<Handler>) => unknown

/** Calls the handlers one after another, as connect does. */
function chain(handlers: (Handler | ErrorHandler)[]): Handler {
  return (request, response, out) => {
    let index = 0
    const next: Next = (error) => {
      const handler = handlers[index]
      index += 1
      if (handler === undefined) out(error)
      else if (error !== undefined && handler.length === 4) (handler as ErrorHandler)(error, request, response, next)
      else if (error === undefined && handler.length < 4) (handler as Handler)(request, response, next)
      else next(error)
    }
    next()
  }
}

export class FakeHot extends EventEmitter {
  readonly sent: { event: string; data: number }[] = []
  send(payload: { event: string; data: number }): void {
    this.sent.push(payload)
  }
}

interface Stage {
  handler: Handler
  /** The application around Vite. */
  outer?: Handler
  options?: StaleDepRecoveryOptions
  proxy?: Record<string, string>
}

export class FakeDevServer {
  readonly hot = new FakeHot()
  readonly discovered: Record<string, { file: string; processing: Promise<void> }> = {}
  readonly environment: DevEnvironment
  readonly rescue: Rescue
  readonly middlewares: Handler
  calls = 0
  #url = ''

  constructor({ handler, outer, options, proxy }: Stage) {
    this.environment = {
      name: 'ssr',
      hot: this.hot,
      config: { consumer: 'server' },
      depsOptimizer: {
        metadata: { optimized: { a: { file: '/deps/a.js' } }, discovered: this.discovered, chunks: {} },
      },
    } as unknown as DevEnvironment
    const server = {
      environments: { ssr: this.environment },
      config: { server: { proxy }, logger: { info() {} } },
    }
    const requests = new Requests(server as unknown as ViteDevServer, checkRecoveryOptions(options))
    this.rescue = requests.rescue as Rescue
    const counted: Handler = (request, response, next) => {
      this.calls += 1
      return handler(request, response, next)
    }
    const failed: ErrorHandler = (error, _request, response, _next) => {
      response.statusCode = 500
      response.end(String(error))
    }
    const inner = chain([requests.begin, counted, this.rescue.leave, requests.fail, failed] as Handler[])
    Object.assign(server, { middlewares: inner })
    const missing: Handler = (_request, response) => void response.writeHead(404).end('nobody answers')
    this.middlewares = chain([inner, outer ?? missing])
  }

  async listen(): Promise<this> {
    const server = createServer((request, response) => this.middlewares(request, response, () => {}))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    this.#url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return this
  }

  /** Sends a request. Resolves with its answer, or with 'cut'. */
  async ask(path = '/', { body, ...options }: RequestOptions & { body?: string } = {}): Promise<string> {
    const sent = sendRequest(this.#url + path, options)
    sent.end(body)
    try {
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      return `${response.statusCode} ${await text(response)}`
    } catch {
      return 'cut'
    }
  }
}

export const open = (stage: Stage): Promise<FakeDevServer> => new FakeDevServer(stage).listen()
