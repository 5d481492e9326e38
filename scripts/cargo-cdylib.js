#!/usr/bin/env node
// Stands in for `cargo` in `napi build`: compiles the addon as a cdylib only. Cargo ignores `lto` for a library that is
// also an rlib, which the Rust tests need.
import { spawnSync } from 'node:child_process'

const [command, ...args] = process.argv.slice(2)
const compilers = { build: 'cargo', zigbuild: 'cargo-zigbuild' }
const { status, error } =
  command in compilers
    ? spawnSync(compilers[command], ['rustc', ...args, '--crate-type', 'cdylib'], { stdio: 'inherit' })
    : spawnSync('cargo', [command, ...args], { stdio: 'inherit' })
if (error) throw error
process.exitCode = status ?? 1
