//! The Node binding. Conventions of this folder:
//!
//! * One file per capability. It only converts values and contains no decision of its own.
//! * A failure crosses the boundary as a value ([`error::Reply`]) and is thrown in `src/js`. A rejected napi
//!   `async fn` supports only napi's own codes, and an error that JavaScript creates has the caller's stack.
//! * Numbers cross as `f64` and are checked in [`number`]. A `u32` would convert `Infinity` to 0 and -1 to 49 days.
//! * Blocking work runs on the threads of [`runtime`], never in libuv's pool (4 threads, shared with `fs`).
//! * The cleanup hook of an [`environment`] releases what its thread holds, because `worker.terminate()` runs no
//!   JavaScript.
//! * A JavaScript function that another thread calls is a [`listener::Listener`], never a bare
//!   `ThreadsafeFunction`. The latter must not be dropped while its environment ends.
//! * No `async fn` with `&self` or a class as an argument. napi accesses both on another thread, when a terminated
//!   worker may have freed them (heap corruption in 3 of 4 runs of `caches-terminate`). A call copies what it needs
//!   before it returns its promise (`Env::spawn_future`).
//! * Nothing that outlives the call contains an `Env`, an object or a function.

#![expect(
    unreachable_pub,
    reason = "napi exports need `pub`, although no Rust code uses them"
)]
#![expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "napi passes the environment by reference"
)]
#![expect(clippy::needless_pass_by_value, reason = "napi passes arguments by value")]

mod archives;
mod bundles;
mod caches;
mod cancel;
mod environment;
mod error;
mod listener;
mod locks;
mod number;
mod per_environment;
mod promise;
mod runtime;
mod state;
mod system;
