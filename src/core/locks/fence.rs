//! Late results are refused: a rename that only happens while no later generation exists.

use std::path::Path;
use std::time::Duration;

use super::path::LockPath;
use super::record_log::{RecordLog, RecordsId};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::deadline::Deadline;
use crate::core::sys::dir::DirectoryLock;
use crate::core::sys::{fault, filesystem, fs};

/// Another publisher holds the fence for two system calls; one that is stopped in between must not stop us
/// for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// What only the process that acquired the lock can check.
pub(super) struct HolderCheck<'a> {
    /// The directory that it has written its record to.
    pub(super) records_id: RecordsId,
    /// `ERR_LOCK_LOST` unless it holds the lock.
    pub(super) assert_held: &'a dyn Fn() -> Result<()>,
}

/// Renames `from` to `to` unless a later generation exists, for a child that knows path and generation.
pub fn publish_fenced(lock: &LockPath, generation: u64, from: &Path, to: &Path) -> Result<()> {
    publish(lock, generation, None, from, to)
}

/// Looks, renames and looks again. Where kernel locks can be trusted all publishers of a lock do it one after
/// the other, so that no late one can slip in between; elsewhere the window is this one call.
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
            // The records that this holder has written, not what somebody has put in their place.
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

/// Locks the directory of these records until the result is dropped. `None` where kernel locks cannot be trusted.
fn lock_fence(log: &RecordLog) -> Result<Option<DirectoryLock>> {
    let path = log.directory_path();
    if !filesystem::of(path)?.trusted {
        return Ok(None);
    }
    let deadline = Deadline::after(PATIENCE);
    loop {
        // Whether it is still the directory at its path is checked with the generation.
        if let Some(fence) = log.directory().try_lock(path)? {
            return Ok(Some(fence));
        }
        if deadline.has_passed() {
            let message = format!(
                "another process has been publishing under '{}' for 10 s; is it stopped?",
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
        || "its records are gone".to_owned(),
        |found| format!("generation {found} has the lock"),
    );
    Err(too_late(lock, generation, &found))
}

fn too_late(lock: &LockPath, generation: u64, found: &str) -> Error {
    let message = format!(
        "generation {generation} of the lock '{}' is too late: {found}",
        lock.directory().display()
    );
    Error::new(Code::Fenced, message).at(lock.directory())
}
