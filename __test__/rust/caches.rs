//! Invariants of the caches: stamps, stores, restores, snapshots.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "tests look at the disk past the core, say aloud what they skip, and make up bytes"
)]

mod caches {
    mod kills;
    mod mutants;
    mod stamps;
    mod strangers;
    #[path = "../support/mod.rs"]
    #[expect(dead_code, unused_imports, reason = "the suite of archives uses the rest")]
    mod support;
}
