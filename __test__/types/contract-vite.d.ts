/** 'warmswap/vite' and 'warmswap/esbuild': the contract. Vite 6, 7 and 8. */
import type { Plugin, DevEnvironment, ViteDevServer } from 'vite'
import type { ModuleRunner } from 'vite/module-runner'
import type { BundleStore } from './contract-api.js'

export default function warmswap(options?: {
  state?: StableStateOptions
  recovery?: StaleDepRecoveryOptions | false
  link?: EnvironmentLink[]
  outDir?: AtomicOutDirOptions
}): Plugin[]

export interface StableStateOptions {
  environments?: (name: string) => boolean // default: server-side environments
  singletons?: string[] // further packages to keep external and in one copy
  backend?: 'auto' | 'native' | 'js' // 'js' where .node cannot be loaded (workerd)
}
export function stableState(options?: StableStateOptions): Plugin

export interface StaleDepRecoveryOptions {
  maxAttempts?: number // 3
  replay?: readonly string[] // ['GET', 'HEAD']
  onUnsafe?: 'error-503' | 'redirect-307' // for requests that must not be replayed; @default 'error-503' with Retry-After
  reloadClient?: 'never' | 'if-client-reoptimized'
  onEvent?(event: RecoveryEvent): void
}
export function staleDepRecovery(options?: StaleDepRecoveryOptions): Plugin
export type StaleKind = 'outdated' | 'processing' | 'missing-chunk'
export interface RecoveryEvent {
  environment: string
  kind: StaleKind
  id?: string
  attempt: number
  outcome: 'retry' | 'resolved-ghost' | 'recovered' | 'gave-up'
  oldHash?: string
  newHash?: string
}

export interface EnvironmentLink {
  from: string
  to: string[]
}
export function linkEnvironments(links: EnvironmentLink[]): Plugin

export interface AtomicOutDirOptions {
  root?: string
  apply?: 'watch' | 'always'
  keep?: number
  graceMs?: number
  onPublish?(store: BundleStore): void
}
export function atomicOutDir(options?: AtomicOutDirOptions): Plugin

export function staleDepError(error: unknown): { kind: StaleKind; id?: string; hash?: string } | undefined
export function resolveOptimizedId(environment: DevEnvironment, id: string): string | undefined
export function importWithRecovery<M = any, T = M>(
  environment: DevEnvironment,
  url: string,
  options?: { runner?: ModuleRunner; use?: (module: M) => T | Promise<T>; maxAttempts?: number; signal?: AbortSignal },
): Promise<T>
export function onReoptimize(
  server: ViteDevServer,
  listener: (event: { environment: string; browserHash: string; reload: boolean }) => void,
): Disposable

// 'warmswap/esbuild':  export function atomicOutdir(options: { store: BundleStore; require?: string[]; meta?(result: BuildResult): unknown }): esbuild.Plugin
//                      (write: false inside; onEnd publishes; a failed or cancelled rebuild publishes nothing and deletes nothing)
