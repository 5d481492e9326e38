//! Tests of caches: tree manifests, stores, restores, snapshots.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "tests read the disk directly, print what they skip, and invent bytes"
)]

mod caches {
    mod ensure_clocks;
    mod ensure_model;
    mod folder_store;
    mod kills;
    mod other_users;
    #[path = "../support/mod.rs"]
    #[expect(dead_code, unused_imports, reason = "the suite of archives uses the rest")]
    mod support;
    mod tree_manifests;
    mod trust;
}
