//! Removal of the files that a lock keeps between its holders (guard, records, spare), after the lock has been unused
//! for a given time.
//!
//! The sweep acquires the lock like any other caller. While its record is the highest one, every other caller waits for
//! it, whatever that caller has read before. Then the directory of the records is renamed, which ends all records
//! atomically. Removing them one by one would not be safe: a caller that has read `<n>.free` could link `<n+1>.json`
//! next to a `1.json` of a new holder, and would win. In the renamed directory this caller finds that its directory is
//! not the one at the path, and starts again. The guard is removed last and under its lock. A caller that has it open
//! checks its inode after locking it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Attempt, Step};
use super::heirs::Heirs;
use super::inspect::survey;
use super::neighbours::Neighbours;
use super::path::LockPath;
use super::record::LockMode;
use super::record_log::RecordLog;
use super::removal;
use super::request::Request;
use crate::core::error::{Optional as _, Result};
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::{clock, fault};

/// Removes the files of a lock that was not used for `unused`. Returns the paths that no longer exist. Nothing is
/// removed if the lock is in use, if an entry was not provably created by warmswap, or if flock on its filesystem is
/// not trusted.
///
/// # Errors
/// Errors of the system calls.
pub(super) fn remove(lock: &LockPath, neighbours: &Neighbours, unused: Duration) -> Result<Vec<PathBuf>> {
    let Some(generation) = last_generation(lock, neighbours, unused)? else {
        return Ok(Vec::new());
    };
    if fault::is_seeded("lock-sweep-unheld") {
        removal::discard_spare(lock)?;
        let aside = lock.tombstone();
        fs::rename(&lock.records(), &aside)?;
        removal::discard_records(&aside)?;
        return fs::remove_file(&lock.guard()).map(|()| Vec::new());
    }
    let mut attempt = Attempt::new(lock, Arc::new(Request::default()))?;
    if attempt.mode() != LockMode::Kernel {
        return Ok(Vec::new());
    }
    let Step::Acquired(held) = attempt.step()? else {
        return Ok(Vec::new());
    };
    // Another caller held the lock after it was examined, so it is in use.
    if held.mode() == LockMode::Kernel && held.generation() == generation + 1 {
        let retired = held.retire();
        if retired.is_ok() {
            return retired;
        }
    }
    held.release(None);
    Ok(Vec::new())
}

/// Generation of the last holder, if the lock is free and its files are old and belong to warmswap.
fn last_generation(lock: &LockPath, neighbours: &Neighbours, unused: Duration) -> Result<Option<u64>> {
    let (inspection, directory) = survey(lock, &mut Heirs::for_one_inspection())?;
    if inspection.is_held || directory.is_some() || fs::stat(lock.directory()).optional()?.is_some() {
        return Ok(None);
    }
    let is_old = |stat: &Stat| neighbours.trusts(stat) && age(stat).is_some_and(|age| age >= unused);
    let guard = fs::stat(&lock.guard()).optional()?;
    if guard.is_some_and(|stat| stat.kind != Kind::File || stat.size > 0 || !is_old(&stat)) {
        return Ok(None);
    }
    let spare = fs::stat(&lock.spare()).optional()?;
    if spare.is_some_and(|stat| !is_old(&stat)) || (spare.is_some() && !removal::is_spare(&lock.spare())?) {
        return Ok(None);
    }
    let records = fs::stat(&lock.records()).optional()?;
    if !records.is_some_and(|stat| is_old(&stat)) || !removal::holds_records_only(&lock.records())? {
        return Ok(None);
    }
    let (_, highest) = RecordLog::open_and_read(lock, Some(neighbours))?;
    let last = highest.top.filter(|top| top.is_free).and_then(|top| top.record);
    Ok(last.map(|record| record.generation))
}

/// Time since the last change. `None` if that is in the future.
fn age(stat: &Stat) -> Option<Duration> {
    let age = i128::from(clock::wall_nanos()) - stat.modified_ns;
    u64::try_from(age).ok().map(Duration::from_nanos)
}
