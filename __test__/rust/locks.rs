//! The locks core against its invariants, each test named after the one it holds.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests look at the disk past the core; figures of a storm are for people"
)]

#[path = "locks/arena.rs"]
mod arena;
#[path = "locks/faults.rs"]
mod faults;
#[path = "locks/fencing.rs"]
mod fencing;
#[path = "locks/identities.rs"]
mod identities;
#[path = "locks/mutants.rs"]
mod mutants;
#[path = "locks/storms.rs"]
mod storms;
