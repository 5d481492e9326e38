//! warmswap: what JavaScript dev servers need from the filesystem and Node has no calls for.
//!
//! Three rooms, one direction: `src/js` (TypeScript) calls [`addon`] (napi, conversion only), which calls
//! [`core`] (plain Rust, knows nothing of Node). A capability has one name in all three.
//!
//! Start reading at the module doc of a capability: [`core::bundles`], [`core::locks`], [`core::caches`],
//! [`core::state`]. They stand on one floor of system calls, [`core::sys`], and know nothing of each other.
//!
//! # Features
//! * `addon` (default): the Node binding. Without it the crate is plain Rust.
//! * `testing`: fault points and seeded mutants, see [`core::sys::fault`]. Never in a published build.

// Of src only: a table of cases in a test may be long. The threshold is in clippy.toml.
#![warn(clippy::too_many_lines)]

#[cfg(feature = "addon")]
mod addon;
pub mod core;
