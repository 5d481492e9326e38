//! Protection against late results: a rename that happens only while no later generation of the lock exists.

use std::path::Path;
use std::time::Duration;

use super::path::LockPath;
use super::record_log::{RecordLog, RecordsId};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::deadline::Deadline;
use crate::core::sys::dir::DirectoryLock;
use crate::core::sys::{fault, filesystem, fs};

/// Longest wait for another publisher. It holds the fence for two system calls, but it may be stopped in between.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks that only the process that acquired the lock can make.
pub(super) struct HolderCheck<'a> {
    /// Directory that the process has written its record to.
    pub(super) records_id: RecordsId,
    /// Fails with `ERR_LOCK_LOST` unless the process holds the lock.
    pub(super) assert_held: &'a dyn Fn() -> Result<()>,
}

/// Renames `from` to `to`. Fails with `ERR_FENCED` if a later generation exists. For a child process that knows only
/// the path and the generation.
pub fn publish_fenced(lock: &LockPath, generation: u64, from: &Path, to: &Path) -> Result<()> {
    publish(lock, generation, None, from, to)
}

/// Checks, renames and checks again. If kernel locks are trusted, all publishers of a lock do this one after another,
/// so that no late result gets in between. Otherwise the race window is this one call.
pub(super) fn publish(
    lock: &LockPath,
    generation: u64,
    holder: Option<&HolderCheck<'_>>,
    from: &Path,
    to: &Path,
) -> Result<()> {
    let (log, _) = RecordLog::open_and_read(lock, None)?;
    let check = || {
        if let Some(holder) = holder {
            (holder.assert_held)()?;
            // The directory must contain the records of this holder, not a replacement.
            if log.as_ref().is_none_or(|log| log.id() != holder.records_id) {
                return Err(too_late(lock, generation, "its records were replaced"));
            }
        }
        check_generation(lock, log.as_ref(), generation)
    };
    let fence = log.as_ref().map(lock_fence).transpose()?;
    if !fault::is_seeded("lock-publish-unfenced") {
        check()?;
    }
    fs::rename(from, to)?;
    drop(fence);
    check()
}

/// Locks the directory of these records until the result is dropped. Returns `None` if kernel locks are not trusted.
fn lock_fence(log: &RecordLog) -> Result<Option<DirectoryLock>> {
    let path = log.directory_path();
    if !filesystem::of(path)?.trusted {
        return Ok(None);
    }
    let deadline = Deadline::after(PATIENCE);
    loop {
        // check_generation() checks that it is still the directory at its path.
        if let Some(fence) = log.directory().try_lock(path)? {
            return Ok(Some(fence));
        }
        if deadline.has_passed() {
            let message = format!(
                "Another process has been publishing under '{}' for 10 s. Check whether it is stopped",
                path.display()
            );
            return Err(Error::new(Code::Timeout, message).at(path));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn check_generation(lock: &LockPath, log: Option<&RecordLog>, generation: u64) -> Result<()> {
    let log = match log {
        Some(log) if log.is_current()? => Some(log),
        _ => None,
    };
    let top = log.map(RecordLog::top).transpose()?.flatten();
    let existing = top.and_then(|top| top.record).map(|record| record.generation);
    if existing == Some(generation) {
        return Ok(());
    }
    let found = existing.map_or_else(
        || "its records no longer exist".to_owned(),
        |found| format!("generation {found} holds the lock"),
    );
    Err(too_late(lock, generation, &found))
}

fn too_late(lock: &LockPath, generation: u64, found: &str) -> Error {
    let message = format!(
        "Generation {generation} of the lock '{}' is too late: {found}",
        lock.directory().display()
    );
    Error::new(Code::Fenced, message).at(lock.directory())
}
