//! Work that waits: for parts from a store, for a quiet tree, for another writer's lock.
//!
//! It counts apart from calls that only wait for the disk ([`Class::Long`]). Sixteen restores that each held one of their
//! threads while they waited for parts, which the same sixteen were to read, all ended in their deadlines, and nothing
//! else of the process ran meanwhile.

use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::workers::{self, Class};

/// Runs `work` without anybody waiting for it: what a call does when it is done already. Where there is no thread to be
/// had it is dropped, and what it owns goes at once.
pub(super) fn detach(path: &Path, work: impl FnOnce() + Send + 'static) {
    workers::detach(Class::Long, path, work);
}

/// Runs `work`, which works on `path`, and waits for it.
pub(super) async fn run<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    workers::run(Class::Long, path, work).await
}

/// As [`run`], for work that waits only for the filesystem of `path`.
pub(super) async fn on_disk<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    workers::run(Class::Short, path, work).await
}
