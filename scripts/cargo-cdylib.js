#!/usr/bin/env node
// Stands in for `cargo` in `napi build`: compiles the addon as a cdylib only. Cargo ignores `lto` for a library that is
// also an rlib, which the Rust tests need.
//
// LLVM inlines functions up to this size in the crate itself and during link-time optimisation. Its own limits are 225
// for opt-level 2 and 3, 50 for "s" and 5 for "z". With 10 the addon has 0.9 MB less, and no cache call takes longer
// (docs/internals/platforms.md).
import { spawnSync } from 'node:child_process'

const INLINE = ['-C', 'llvm-args=-inline-threshold=10']
const [command, ...args] = process.argv.slice(2)
const compilers = { build: 'cargo', zigbuild: 'cargo-zigbuild' }
const { status, error } =
  command in compilers
    ? spawnSync(compilers[command], ['rustc', ...args, '--crate-type', 'cdylib', '--', ...INLINE], { stdio: 'inherit' })
    : spawnSync('cargo', [command, ...args], { stdio: 'inherit' })
if (error) throw error
process.exitCode = status ?? 1
