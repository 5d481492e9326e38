//! The Node binding. Conventions of this folder:
//!
//! * One file per capability, conversion only: no `if` that is not conversion.
//! * A failure crosses as a value ([`error::Reply`]) and is thrown in `src/js`, because a rejected napi
//!   `async fn` can only carry napi's own closed set of codes, and because an error made in JavaScript has
//!   the caller's stack.
//! * Numbers cross as `f64` and are checked in [`number`]: a `u32` would turn `Infinity` into 0 and -1 into
//!   49 days.
//! * What blocks runs on [`runtime`]'s threads, never in libuv's pool (4 threads, shared with `fs`).
//! * What a worker thread holds is let go in its [`environment`]'s cleanup hook: `worker.terminate()` runs no
//!   JavaScript.
//! * A JavaScript function that another thread calls is a [`listener::Listener`], never a bare
//!   `ThreadsafeFunction`, which must not be dropped while its environment ends.
//! * No `async fn` with `&self` or a class as argument: napi looks at both on another thread, when a worker that was
//!   terminated may have freed them (heap corruption in 3 of 4 runs of `caches-terminate`). What a call needs it takes
//!   before it returns its promise (`Env::spawn_future`).
//! * No `Env`, object or function in anything that outlives the call.

#![expect(
    unreachable_pub,
    reason = "napi exports need `pub`; nobody in Rust reaches them"
)]
#![expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "napi hands the environment over by reference"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "napi hands arguments over as owned values"
)]

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
