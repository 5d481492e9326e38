//! Files of a holder: its record, its lock directory and its guard.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::guard_file::LockedGuard;
use super::neighbours::Neighbours;
use super::path::LockPath;
use super::prepared_directory::{self, PreparedDirectory};
use super::record::{self, Contents, FailedRun, GuardId, HolderProgress, LockMode, Record};
use super::record_file::RecordFile;
use super::record_log::{RecordLog, TopRecord};
use super::{lock_directory, removal, shared, staleness};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::{fault, fs};

/// Owner of the lock directory, as seen by a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectoryOwner {
    ThisLock,
    Other,
    Removed,
    Unknown,
}

/// Files of one holder.
pub(super) struct HoldFiles {
    lock: Arc<LockPath>,
    neighbours: Arc<Neighbours>,
    record: Record,
    /// Directory that the record was linked into. It is the same directory even if its path is replaced. `None` after
    /// the lock is released.
    log: Option<RecordLog>,
    /// The record as it was linked and as it remains in the lock directory. `None` after the release, and in lease
    /// mode: there a stat can be outdated (NFS), or an inode number can belong to several files (FUSE).
    record_file: Option<RecordFile>,
    guard: Option<LockedGuard>,
    is_published: bool,
}

impl HoldFiles {
    pub(super) fn new(
        lock: Arc<LockPath>,
        neighbours: Arc<Neighbours>,
        record: Record,
        log: RecordLog,
        record_file: RecordFile,
        guard: Option<LockedGuard>,
    ) -> Self {
        Self {
            lock,
            neighbours,
            record_file: (record.mode == LockMode::Kernel).then_some(record_file),
            record,
            log: Some(log),
            guard,
            is_published: false,
        }
    }

    /// Whether the linked record is still at this path, as far as a stat can show.
    fn is_written_at(&self, path: &Path) -> bool {
        self.record_file
            .as_ref()
            .is_some_and(|record_file| record_file.is_at(path))
    }

    pub(super) fn guard_id(&self) -> Option<GuardId> {
        self.guard.as_ref().map(LockedGuard::id)
    }

    /// The descriptor that a child inherits to keep the lock.
    pub(super) fn child_descriptor(&self) -> Result<Option<i32>> {
        self.guard.as_ref().map(LockedGuard::descriptor).transpose()
    }

    /// Publishes the lock directory. See [`prepared_directory::publish`].
    pub(super) fn publish(&mut self) -> Result<bool> {
        let prepared = self.lock.prepared(&self.record.token);
        let published = match prepared_directory::publish(&self.lock, &prepared) {
            // A sweep removed it while this call waited for another program's directory.
            Err(error) if error.is_not_found() => {
                let owner = self.record.to_bytes()?;
                PreparedDirectory::make(&self.lock, &prepared, &owner, &self.neighbours)?;
                prepared_directory::publish(&self.lock, &prepared)?
            }
            published => published?,
        };
        self.is_published |= published;
        Ok(published)
    }

    /// Publishes the lock directory again. mkdir locks release by path without checking the owner, so our directory may
    /// have been removed. Returns `false` if another program has created its own.
    pub(super) fn publish_again(&self) -> bool {
        // The token is public by now, so the temporary name needs a new random part.
        let prepared = self.lock.prepared(&uuid::Uuid::new_v4().to_string());
        let published = self
            .record
            .to_bytes()
            .and_then(|bytes| PreparedDirectory::make(&self.lock, &prepared, &bytes, &self.neighbours))
            .and_then(|_| prepared_directory::publish(&self.lock, &prepared));
        if !matches!(published, Ok(true)) {
            drop(removal::discard(&prepared));
        }
        !matches!(published, Ok(false))
    }

    /// Owner of the lock directory.
    pub(super) fn directory_owner(&self) -> DirectoryOwner {
        if !self.is_published {
            return DirectoryOwner::Unknown;
        }
        if self.is_written_at(&self.lock.owner()) {
            return DirectoryOwner::ThisLock;
        }
        match record::read(&self.lock.owner()) {
            Ok(Some((_, Contents::Record(record)))) if record.token == self.record.token => {
                DirectoryOwner::ThisLock
            }
            Ok(Some((_, Contents::Record(_) | Contents::Foreign(_)))) => DirectoryOwner::Other,
            Ok(None) if matches!(fs::stat(self.lock.directory()), Err(error) if error.is_not_found()) => {
                DirectoryOwner::Removed
            }
            // A broken owner file proves nothing, and a missing one is a mkdir lock between its two steps. The next
            // check decides.
            _ => DirectoryOwner::Unknown,
        }
    }

    /// Updates the times of the lock directory, for programs that use them.
    pub(super) fn touch_directory(&self) {
        drop(lock_directory::touch(&self.lock));
    }

    /// Moves our lock directory away. Returns the path to remove after the lock is free, if any.
    pub(super) fn withdraw(&self, owner: DirectoryOwner) -> Option<PathBuf> {
        if !self.is_published {
            drop(removal::discard(&self.lock.prepared(&self.record.token)));
        }
        if owner != DirectoryOwner::ThisLock {
            return None;
        }
        removal::withdraw(&self.lock)
    }

    /// Whether the record with our number is ours and visible at its path.
    pub(super) fn finds_its_record(&self) -> Result<bool> {
        let Some(log) = &self.log else {
            return Ok(false);
        };
        if self.is_written_at(&log.path(self.record.n)) {
            return Ok(true);
        }
        let record = log.held(self.record.n)?;
        Ok(record.is_some_and(|record| record.token == self.record.token) && log.is_current()?)
    }

    /// Whether our record is the highest one at the path that other processes read.
    pub(super) fn is_still_current(&self) -> bool {
        let Some(log) = &self.log else {
            return false;
        };
        let is_top = |top: TopRecord| {
            !top.is_free && top.record.is_some_and(|record| record.token == self.record.token)
        };
        let is_current = log
            .top()
            .and_then(|top| Ok(top.is_some_and(is_top) && log.is_current()?));
        is_current.unwrap_or_else(|error| is_kept_by_a_failure(&error))
    }

    /// Writes a record that differs from the previous one.
    pub(super) fn renew_record(&mut self, progress: Option<HolderProgress>) -> Result<()> {
        if progress.is_some() {
            self.record.progress = progress;
        }
        self.record.lease.seq += 1;
        self.write()
    }

    fn write(&self) -> Result<()> {
        match &self.log {
            Some(log) => log.replace(self.record.n, &self.lock.next(), &self.record.to_bytes()?),
            None => Ok(()),
        }
    }

    /// Removes all files of the lock, the guard last. Returns the paths that were visible to other callers. This
    /// releases the lock, because its records no longer exist.
    ///
    /// # Errors
    /// The lock is no longer held, or its files cannot be renamed. Then the record is unchanged.
    pub(super) fn retire(&mut self) -> Result<Vec<PathBuf>> {
        let Some(log) = &self.log else {
            return Ok(Vec::new());
        };
        let records = self.lock.records();
        let aside = self.lock.tombstone();
        let directory = self.withdraw(self.directory_owner());
        if fault::is_seeded("lock-sweep-in-place") {
            removal::remove_records(&records)?;
        } else {
            fs::rename(&records, &aside)?;
            if !self.is_retired_at(log, &aside) {
                shared::rename_new(&aside, &records)?;
                return Err(Error::new(Code::LockLost, "The records of the lock were replaced").at(&records));
            }
        }
        // From here on the lock is free. A later sweep removes what cannot be removed now.
        if let Some(directory) = directory {
            drop(removal::discard(&directory));
        }
        drop(removal::discard_records(&aside));
        let mut removed = vec![records];
        if matches!(removal::discard_spare(&self.lock), Ok(true)) {
            removed.push(self.lock.spare());
        }
        staleness::forget(&self.lock, &self.neighbours);
        if self
            .guard
            .as_ref()
            .is_some_and(|guard| matches!(guard.remove(), Ok(true)))
        {
            removed.push(self.lock.guard());
        }
        self.log = None;
        Ok(removed)
    }

    /// Whether the moved records are ours, with our own as the highest. A holder on another kernel may have taken over
    /// if this process was stopped for longer than its lease.
    fn is_retired_at(&self, log: &RecordLog, aside: &Path) -> bool {
        let is_top = |top: TopRecord| {
            !top.is_free && top.record.is_some_and(|record| record.token == self.record.token)
        };
        log.is_at(aside).unwrap_or(false) && log.top().is_ok_and(|top| top.is_some_and(is_top))
    }

    /// Marks the record as released.
    pub(super) fn free_record(&mut self, failure: Option<FailedRun>) {
        if let Some(failure) = failure {
            self.record.failure = Some(failure.shortened());
            // On a full disk the failed run is not recorded. The lock is released anyway.
            drop(self.write());
        }
        let Some(log) = &self.log else {
            return;
        };
        // A disk that accepts no new name may still remove the old one. The base is lost with it. The next record then
        // starts at the wall clock, which is later.
        if log.free(self.record.n).is_err() {
            drop(log.remove(self.record.n));
        }
    }

    /// Closes the files and unlocks the guard.
    pub(super) fn close(&mut self) {
        self.record_file = None;
        self.log = None;
        if let Some(guard) = self.guard.take() {
            // Closing also unlocks it.
            drop(guard.release());
        }
    }

    /// Closes the files and leaves the guard to the children that have its descriptor.
    pub(super) fn leave_to_children(&mut self) {
        self.log = None;
        if let Some(guard) = self.guard.take() {
            guard.leave_to_children();
        }
    }
}

/// Whether the lock is still held despite this error. A temporary disk error gives the lock to no other process. A
/// newer format means that a newer version has taken over.
pub(super) fn is_kept_by_a_failure(error: &Error) -> bool {
    error.code != Code::Format
}
