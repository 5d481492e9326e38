/** Restarts: single-flight builds, deduplicated reboots, requests that outlive their workers. */

export { openCoordinator, type Coordinator, type CoordinatorOptions, type CoordinatorStatus } from './coordinator.js'
export type { BuildContext, BuildNeed, BuildResult, BuildRun } from './build.js'
export type { DispatchOptions } from './queue.js'
export type { RebootResult, StartWorker as Start, StartContext } from './workers.js'
export type { WorkerHandle } from './handle.js'
export { startWorkerThread, type WorkerThreadOptions } from './thread.js'
export { startProcess, type ProcessOptions } from './process.js'
export { serveRequests, type RequestContext, type RequestHandler } from './serve.js'
