/** Restarts: single-flight builds, deduplicated reboots, requests that outlive their workers. */

export type { BuildContext, BuildNeed, BuildResult, BuildRun } from './build.js'
export { type Coordinator, type CoordinatorOptions, type CoordinatorStatus, openCoordinator } from './coordinator.js'
export type { WorkerAddress, WorkerHandle } from './handle.js'
export type { AttachedServer } from './http/attach.js'
export type { FetchOptions } from './http/options.js'
export { type ProcessHandle, startProcess } from './process.js'
export type { ProcessOptions, WorkerOutput } from './process-options.js'
export type { DispatchOptions } from './queue.js'
export { type RequestContext, type RequestHandler, serveRequests } from './serve.js'
export { type FetchContext, type FetchHandler, serveFetch } from './serve-fetch.js'
export { startWorkerThread, type ThreadHandle, type WorkerThreadOptions } from './thread.js'
export type { RebootResult, Start, StartContext } from './workers.js'
