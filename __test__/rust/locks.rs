//! The locks core against its invariants, each test named after the one it holds.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests look at the disk past the core; figures of a storm are for people"
)]

#[path = "locks/arena.rs"]
mod arena;
#[path = "locks/clocks.rs"]
mod clocks;
#[path = "locks/fairness.rs"]
mod fairness;
#[path = "locks/faults.rs"]
mod faults;
#[path = "locks/fencing.rs"]
mod fencing;
#[path = "locks/filesystems.rs"]
mod filesystems;
#[path = "locks/folders.rs"]
mod folders;
#[path = "locks/hostile.rs"]
mod hostile;
#[path = "locks/identities.rs"]
mod identities;
#[path = "locks/mutants.rs"]
mod mutants;
#[path = "locks/review.rs"]
mod review;
#[path = "locks/storms.rs"]
mod storms;
#[path = "locks/users.rs"]
mod users;
