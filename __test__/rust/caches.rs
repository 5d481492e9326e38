//! Invariants of the caches: archives, commits, stamps.

mod caches {
    mod archive;
}
