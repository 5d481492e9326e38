//! warmswap: what JavaScript dev servers need from the filesystem and Node has no calls for.
//!
//! There are three layers. `src/js` (TypeScript) calls [`addon`] (napi, conversion only), which calls [`core`]
//! (plain Rust, independent of Node). A capability has one name in all three. docs/internals/map.md is the map.
//!
//! Start reading at the module doc of a capability: [`core::bundles`], [`core::locks`], [`core::archives`],
//! [`core::caches`], [`core::state`]. They use the system calls of [`core::sys`]. Only caches use another
//! capability: archives.
//!
//! # Features
//! * `addon` (default): the Node binding. Without it the crate is plain Rust.
//! * `testing`: fault points and seeded bugs, see [`core::sys::fault`]. Never in a published build.

// Of src only: a table of cases in a test may be long. The threshold is in clippy.toml.
#![warn(clippy::too_many_lines)]

#[cfg(feature = "addon")]
#[cfg_attr(
    test,
    expect(
        dead_code,
        reason = "napi registers no function in unit tests, so nothing calls them"
    )
)]
mod addon;
pub mod core;
