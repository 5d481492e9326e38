//! Invariants of archives: packing, extracting, commits.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::semicolon_if_nothing_returned,
    clippy::cast_possible_truncation,
    reason = "tests look at the disk past the core, say aloud what they skip, and make up bytes"
)]

mod archives {
    mod ambiguous;
    mod archive;
    mod commit;
    mod containment;
    mod hostile;
    mod interoperability;
    mod kills;
    mod limits;
    mod modes;
    mod mutants;
    mod mutation;
    mod strangers;
    mod streams;
    #[path = "../support/mod.rs"]
    #[expect(dead_code, reason = "the suite of caches uses the rest")]
    mod support;
    mod traced;
}
