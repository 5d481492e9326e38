//! Invariants of the caches: archives, commits, stamps.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::semicolon_if_nothing_returned,
    clippy::cast_possible_truncation,
    reason = "tests look at the disk past the core, say aloud what they skip, and make up bytes"
)]

mod caches {
    mod ambiguous;
    mod archive;
    mod commit;
    mod containment;
    mod hostile;
    mod interoperability;
    mod kills;
    mod limits;
    mod mutants;
    mod mutation;
    mod stamps;
    mod strangers;
    mod support;
    mod traced;
}
