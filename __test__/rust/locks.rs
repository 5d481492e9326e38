//! Tests of the core of locks. Each file covers a group of guarantees.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read the disk directly, and print the figures of a storm"
)]

#[path = "locks/arena.rs"]
mod arena;
#[path = "locks/clocks.rs"]
mod clocks;
#[path = "locks/exclusion.rs"]
mod exclusion;
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
#[path = "locks/inspection.rs"]
mod inspection;
#[path = "locks/leases.rs"]
mod leases;
#[path = "locks/loss.rs"]
mod loss;
#[path = "locks/mkdir_locks.rs"]
mod mkdir_locks;
#[path = "locks/release.rs"]
mod release;
#[path = "locks/staleness.rs"]
mod staleness;
#[path = "locks/storms.rs"]
mod storms;
#[path = "locks/sweeping.rs"]
mod sweeping;
#[path = "locks/users.rs"]
mod users;
#[path = "locks/vacancy.rs"]
mod vacancy;
#[path = "locks/waiting.rs"]
mod waiting;
