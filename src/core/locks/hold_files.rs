//! What a holder has on disk: its record, its lock directory and its guard.

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

/// Whose the lock directory is, as its holder sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectoryOwner {
    ThisLock,
    Other,
    Removed,
    Unknown,
}

/// The files of one holder.
pub(super) struct HoldFiles {
    lock: Arc<LockPath>,
    neighbours: Arc<Neighbours>,
    record: Record,
    /// The directory that the record was linked into, which stays the same whatever is put in its place. `None` once the
    /// lock is given back.
    log: Option<RecordLog>,
    /// The record as it was linked, and as it stays in the lock directory. `None` once it is given back, and in lease mode:
    /// there an answer may be an old one that was kept (NFS), or inodes may not be one file's alone (FUSE).
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

    /// Whether what was linked stands there, as far as that can be told without reading it.
    fn is_written_at(&self, path: &Path) -> bool {
        self.record_file
            .as_ref()
            .is_some_and(|record_file| record_file.is_at(path))
    }

    pub(super) fn guard_id(&self) -> Option<GuardId> {
        self.guard.as_ref().map(LockedGuard::id)
    }

    /// The descriptor of the guard.
    pub(super) fn guard_descriptor(&self) -> Option<i32> {
        self.guard.as_ref().map(LockedGuard::descriptor)
    }

    /// Makes the lock directory appear; see [`prepared_directory::publish`].
    pub(super) fn publish(&mut self) -> Result<bool> {
        let prepared = self.lock.prepared(&self.record.token);
        let published = match prepared_directory::publish(&self.lock, &prepared) {
            // Somebody took it for litter while another program's directory was waited for.
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

    /// Publishes the lock directory again: mkdir locks release by path, without a look at whose it is, so that ours may be
    /// gone. `false` where another program has made its own.
    pub(super) fn publish_again(&self) -> bool {
        // Everybody knows the token by now.
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

    /// Whose the lock directory is.
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
            // A broken owner says nothing, and one without is a mkdir lock between its two steps: the next look tells.
            _ => DirectoryOwner::Unknown,
        }
    }

    /// Gives the lock directory fresh times, for those who go by them.
    pub(super) fn touch_directory(&self) {
        drop(lock_directory::touch(&self.lock));
    }

    /// Moves our lock directory away, if it is ours. Returns where it is removed from once the lock is free.
    pub(super) fn withdraw(&self, owner: DirectoryOwner) -> Option<PathBuf> {
        if !self.is_published {
            drop(removal::discard(&self.lock.prepared(&self.record.token)));
        }
        if owner != DirectoryOwner::ThisLock {
            return None;
        }
        removal::withdraw(&self.lock)
    }

    /// Whether the record of our number is ours, and others see it at its path.
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

    /// Whether our record is the highest that stands where others look.
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

    /// Writes a record that differs from the last one.
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

    /// Removes all files of the lock, the guard last, and returns the paths that other callers knew. The lock is given back
    /// by it: its records no longer count.
    ///
    /// # Errors
    /// The lock is not ours any more, or its files cannot be renamed. Then the record stands as before.
    pub(super) fn retire(&mut self) -> Result<Vec<PathBuf>> {
        let Some(log) = &self.log else {
            return Ok(Vec::new());
        };
        let records = self.lock.records();
        let aside = self.lock.tombstone();
        let directory = self.withdraw(self.directory_owner());
        if fault::mutant("lock-sweep-in-place") {
            removal::remove_records(&records)?;
        } else {
            fs::rename(&records, &aside)?;
            if !self.is_retired_at(log, &aside) {
                shared::rename_new(&aside, &records)?;
                return Err(Error::new(Code::LockLost, "its records were replaced").at(&records));
            }
        }
        // From here on the lock is free. What cannot be removed now is swept later.
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

    /// Whether the records that were moved are ours, with our own as the highest. Another kernel's caller may have followed
    /// us where this process was stopped for longer than its lease.
    fn is_retired_at(&self, log: &RecordLog, aside: &Path) -> bool {
        let is_top = |top: TopRecord| {
            !top.is_free && top.record.is_some_and(|record| record.token == self.record.token)
        };
        log.is_at(aside).unwrap_or(false) && log.top().is_ok_and(|top| top.is_some_and(is_top))
    }

    /// Gives the record back.
    pub(super) fn free_record(&mut self, failure: Option<FailedRun>) {
        if let Some(failure) = failure {
            self.record.failure = Some(failure.shortened());
            // What a full disk does not take, nobody hears of; the lock is free all the same.
            drop(self.write());
        }
        let Some(log) = &self.log else {
            return;
        };
        // A disk that takes no new name may let the old one go; the base is lost with it, and the next one
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
            // Closing frees it too.
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

/// A disk that fails now and then has not given the lock to anybody else; a newer version has followed us.
pub(super) fn is_kept_by_a_failure(error: &Error) -> bool {
    error.code != Code::Format
}
