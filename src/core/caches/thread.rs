//! Work that waits: for parts from a store, for a quiet tree, or for another writer's lock.
//!
//! It is counted separately from calls that only wait for the disk ([`Class::Long`]). In a test, sixteen restores each
//! occupied a thread while they waited for parts that needed the same sixteen threads. All of them ended at their
//! deadlines, and no other work of the process ran in the meantime.

use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::workers::{self, Class};

/// Runs `work` in the background after a call has finished. If no thread is available, the work is dropped and its
/// resources are freed immediately.
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

/// Like [`run`], for work that depends only on the filesystem of `path`.
pub(super) async fn on_disk<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    workers::run(Class::Short, path, work).await
}
