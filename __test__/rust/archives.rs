//! Tests of archives: packing, extracting, committing.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::semicolon_if_nothing_returned,
    clippy::cast_possible_truncation,
    reason = "tests read the disk directly, print what they skip, and invent bytes"
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
