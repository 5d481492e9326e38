//! Open lock files, unlocked and locked.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::flock;
use crate::core::sys::fs::{self, Stat};

/// An open lock file.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    stat: Option<Stat>,
    is_writable: bool,
    /// Whether it is locked, so that dropping it has to unlock it.
    unlocks: bool,
}

/// A locked file. Dropping it releases the lock.
#[derive(Debug)]
pub struct LockedFile {
    file: LockFile,
    has_lock: bool,
}

impl LockFile {
    pub(super) fn opened(file: File, stat: Option<Stat>, is_writable: bool) -> Self {
        Self {
            file,
            stat,
            is_writable,
            unlocks: false,
        }
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Stat of the file, from the last check or current.
    pub fn stat(&self, path: &Path) -> Result<Stat> {
        self.stat.map_or_else(|| fs::stat_file(&self.file, path), Ok)
    }

    /// Whether the file was opened for writing.
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.unlocks {
            // A child between fork and exec also has the descriptor and must not keep the lock. The file is closed
            // next.
            drop(flock::unlock(&self.file, Path::new("")));
        }
    }
}

impl LockedFile {
    pub(super) fn new(mut file: LockFile, has_lock: bool) -> Self {
        file.unlocks = has_lock;
        Self { file, has_lock }
    }

    pub(super) fn set_stat(&mut self, stat: Stat) {
        self.file.stat = Some(stat);
    }

    /// Whether the lock is held. `false` only after [`LockOptions::even_without_locks`].
    pub fn has_lock(&self) -> bool {
        self.has_lock
    }

    /// The open file, for writing.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file.file
    }

    /// Unlocks the file and keeps it open.
    ///
    /// # Errors
    /// Errors of the system call.
    pub fn unlock(self, path: &Path) -> Result<LockFile> {
        let mut file = self.file;
        file.unlocks = false;
        flock::unlock(&file.file, path).map(|()| file)
    }

    /// Keeps the lock until the last close of the descriptor, which child processes may also have.
    #[must_use]
    pub fn until_closed(mut self) -> Self {
        self.file.unlocks = false;
        self
    }
}

impl Deref for LockedFile {
    type Target = LockFile;

    fn deref(&self) -> &LockFile {
        &self.file
    }
}
