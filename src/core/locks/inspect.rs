//! Reports the holder of a lock without acquiring anything. A test with flock would acquire the guard, and on the
//! holder's own descriptor it would release it.

use std::time::Duration;

use super::heirs::Heirs;
use super::inspection::Inspection;
use super::liveness;
use super::lock_directory::{self, Extra, LockDirectory};
use super::path::LockPath;
use super::record::{Holder, Record};
use super::record_log::RecordLog;
use crate::core::error::{Optional as _, Result};
use crate::core::sys::filesystem;

/// Inspects a lock. Acquires and deletes nothing.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if the path of the lock directory is a file or a link.
pub fn inspect(lock: &LockPath) -> Result<Inspection> {
    let (mut inspection, found) = survey(lock, &mut Heirs::for_one_inspection())?;
    let Some(found) = found else {
        return Ok(inspection);
    };
    match found.extra()? {
        // A directory with our record is a lock, even if it contains other files.
        Extra::Folder(names) if !found.has_record() => {
            return Ok(Inspection {
                warning: Some(found.is_a_folder(&names).message),
                ..Inspection::FREE
            });
        }
        Extra::Folder(names) | Extra::Files(names) => inspection.warning = Some(found.note(&names)),
        Extra::Nothing if found.is_unreadable() => inspection.warning = Some(found.note(&[])),
        Extra::Nothing => {}
    }
    Ok(inspection)
}

/// Returns the holder of the lock and the directory at its path. `heirs` is kept by a caller that inspects repeatedly.
pub(super) fn survey(lock: &LockPath, heirs: &mut Heirs) -> Result<(Inspection, Option<LockDirectory>)> {
    let (_, highest) = RecordLog::open_and_read(lock, None)?;
    let top = highest.top;
    let found = lock_directory::read(lock, None)?;
    // Another program's directory also blocks the holder of the highest record.
    let is_foreign = found.as_ref().is_some_and(|found| !found.has_record());
    if let Some(top) = top.as_ref().filter(|top| !top.is_free && !is_foreign) {
        let record = top.record.as_deref();
        let holder = record.map_or_else(Holder::ownerless, Record::holder);
        let inspection = Inspection::new(liveness::of_record(record, None), holder);
        return Ok((heirs.refine(lock, record, inspection), found));
    }
    let Some(found) = found else {
        return Ok((Inspection::FREE, None));
    };
    let is_local = filesystem::of(lock.parent())
        .optional()?
        .is_some_and(|found| found.trusted);
    // A directory of warmswap belongs to a later holder than the record that was read, to one whose records were
    // deleted, or to a dead one whose directory could not be removed.
    let supersedes = |record: &Record| top.as_ref().is_some_and(|top| top.reaches(record));
    // The remaining window does not matter, because nothing is taken over here.
    let is_orphan = top.as_ref().is_some_and(|top| !top.is_free);
    let (status, holder) =
        liveness::of_directory(&found, supersedes, is_orphan, None, is_local, Duration::ZERO);
    Ok((Inspection::new(status, holder), Some(found)))
}
