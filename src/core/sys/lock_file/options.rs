//! Selection of the file to lock, and the attempt to lock it.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::entry::Entry;
use super::file::{LockFile, LockedFile};
use crate::core::error::{Optional as _, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Access, Stat};
use crate::core::sys::{fault, flock};

/// How to check that a locked file is still the one at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Compares device and inode with those of the entry at the path.
    Path,
    /// Checks the link count. Sufficient if the file has one name, is never moved, and is removed only under its lock.
    Links,
    /// No check: the caller removes the file, or it is never removed.
    None,
}

/// How the file is opened.
#[derive(Debug, Clone, Copy)]
enum Open {
    Existing(Access),
    OrCreate(u32),
    New(u32),
}

/// File to lock, and how to lock it. By default, an existing file is opened for reading, locked exclusively and checked
/// by its path.
#[derive(Debug, Clone, Copy)]
pub struct LockOptions<'a> {
    entry: Entry<'a>,
    open: Open,
    is_shared: bool,
    check: Check,
    is_lock_optional: bool,
}

/// Result of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// This process holds the lock.
    Locked(LockedFile),
    /// Another open file holds the lock.
    Busy(LockFile),
    /// The file does not exist, or the open one is no longer the one at its path.
    Gone,
}

/// Duration and frequency of attempts.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// Time of the last attempt.
    pub deadline: Deadline,
    /// Makes the wait fail with `ERR_ABORTED`.
    pub cancel: &'a Cancel,
    /// Pause after the first attempt. It doubles after each further attempt, up to `longest_pause`.
    pub pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl<'a> LockOptions<'a> {
    /// Locks the file at this path.
    pub fn at(path: &'a Path) -> Self {
        Self::of(Entry::At(path))
    }

    /// Locks the file with this name in an open directory. `path` is used for errors.
    pub fn inside(directory: &'a Directory, name: &'a OsStr, path: &'a Path) -> Self {
        Self::of(Entry::In(directory, name, path))
    }

    fn of(entry: Entry<'a>) -> Self {
        Self {
            entry,
            open: Open::Existing(Access::Read),
            is_shared: false,
            check: Check::Path,
            is_lock_optional: false,
        }
    }

    /// Opens the file for reading and writing.
    #[must_use]
    pub fn writable(self) -> Self {
        Self {
            open: Open::Existing(Access::ReadWrite),
            ..self
        }
    }

    /// Opens the file for reading and writing, and creates it with this mode if it does not exist. If this user has
    /// only read permission, the file is opened for reading, which is sufficient for flock.
    #[must_use]
    pub fn or_create(self, mode: u32) -> Self {
        Self {
            open: Open::OrCreate(mode),
            ..self
        }
    }

    /// Creates the file with this mode. Fails with `AlreadyExists` if the name is in use.
    #[must_use]
    pub fn create_new(self, mode: u32) -> Self {
        Self {
            open: Open::New(mode),
            ..self
        }
    }

    /// Acquires a shared lock.
    #[must_use]
    pub fn shared(self) -> Self {
        Self {
            is_shared: true,
            ..self
        }
    }

    /// Sets how the file is checked after it was locked.
    #[must_use]
    pub fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// Treats a file as locked if its filesystem does not support locks. [`LockedFile::has_lock`] then returns `false`.
    #[must_use]
    pub fn even_without_locks(self) -> Self {
        Self {
            is_lock_optional: true,
            ..self
        }
    }

    /// Opens the file without locking it. Returns `None` if it does not exist and is not to be created.
    ///
    /// # Errors
    /// Errors of the system calls. Any entry but a regular file is an error that names its kind.
    pub fn open(&self) -> Result<Option<LockFile>> {
        match self.open {
            // Check::Links needs no more than one fstat after the lock.
            Open::Existing(Access::Read) if self.check == Check::Links => match self.entry.open_any() {
                Ok(file) => Ok(Some(LockFile::opened(file, None, false))),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(fs::explain(error, || self.entry.stat(), self.entry.path())),
            },
            Open::Existing(access) => {
                let opened = self.entry.open(access).optional()?;
                let is_writable = access == Access::ReadWrite;
                Ok(opened.map(|(file, stat)| LockFile::opened(file, Some(stat), is_writable)))
            }
            Open::OrCreate(mode) => self.open_or_create(mode).map(Some),
            Open::New(mode) => {
                let file = self.entry.create_new(mode)?;
                Ok(Some(LockFile::opened(file, None, true)))
            }
        }
    }

    fn open_or_create(&self, mode: u32) -> Result<LockFile> {
        let (opened, is_writable) = match self.entry.open_or_create(mode) {
            Err(error) if error.kind() == Some(ErrorKind::PermissionDenied) => {
                // If this user may not create the file either, the first error is more helpful.
                let opened = self.entry.open(Access::Read).map_err(|_| error);
                (opened?, false)
            }
            opened => (opened?, true),
        };
        Ok(LockFile::opened(opened.0, Some(opened.1), is_writable))
    }

    /// Locks an open file if it is free.
    ///
    /// # Errors
    /// Errors of the system calls, and of a filesystem without locks unless [`even_without_locks`] was called.
    ///
    /// [`even_without_locks`]: Self::even_without_locks
    pub fn attempt(&self, file: LockFile) -> Result<Attempt> {
        let path = self.entry.path();
        let locked = if self.is_shared {
            flock::try_shared(file.file(), path)
        } else {
            flock::try_exclusive(file.file(), path)
        };
        let has_lock = match locked {
            Ok(false) => return Ok(Attempt::Busy(file)),
            Err(error) if !self.is_lock_optional => return Err(error),
            locked => locked.is_ok(),
        };
        // From here on each way out unlocks the file.
        let mut locked = LockedFile::new(file, has_lock);
        if self.check != Check::None {
            match self.current(&locked)? {
                Some(stat) => locked.set_stat(stat),
                None if fault::is_seeded("lock-file-unchecked") => {}
                None => return Ok(Attempt::Gone),
            }
        }
        Ok(Attempt::Locked(locked))
    }

    /// Stat of the file, if it is still the one at its path.
    ///
    /// # Errors
    /// Errors of the system calls. Any entry but a regular file is an error that names its kind.
    pub fn current(&self, file: &LockFile) -> Result<Option<Stat>> {
        let path = self.entry.path();
        match self.check {
            Check::Links => {
                let stat = fs::stat_file(file.file(), path)?;
                fs::expect_regular(stat, path)?;
                Ok((stat.links > 0).then_some(stat))
            }
            Check::Path => {
                let own = file.stat(path)?;
                let there = self.entry.stat().optional()?;
                Ok(there.filter(|there| (there.device, there.inode) == (own.device, own.inode)))
            }
            Check::None => file.stat(path).map(Some),
        }
    }

    /// Opens the file and locks it if it is free. Starts again if the file was replaced.
    ///
    /// # Errors
    /// Same as [`open`](Self::open) and [`attempt`](Self::attempt).
    pub fn try_lock(&self) -> Result<Attempt> {
        loop {
            let Some(file) = self.open()? else {
                return Ok(Attempt::Gone);
            };
            match self.attempt(file)? {
                Attempt::Gone => {}
                attempt => return Ok(attempt),
            }
        }
    }

    /// Like [`try_lock`](Self::try_lock), but waits on this thread while the lock is busy. [`Attempt::Busy`] means that
    /// the deadline has passed.
    ///
    /// # Errors
    /// Same as [`try_lock`](Self::try_lock), and `ERR_ABORTED`.
    pub fn lock(&self, wait: Wait<'_>) -> Result<Attempt> {
        loop {
            wait.cancel.check()?;
            let Some(file) = self.open()? else {
                return Ok(Attempt::Gone);
            };
            match self.lock_open(file, wait)? {
                Attempt::Gone => {}
                attempt => return Ok(attempt),
            }
        }
    }

    /// Like [`lock`](Self::lock), for an open file or directory. Returns [`Attempt::Gone`] if it is no longer the one
    /// at its path.
    ///
    /// # Errors
    /// Same as [`attempt`](Self::attempt), and `ERR_ABORTED`.
    pub(super) fn lock_open(&self, mut file: LockFile, wait: Wait<'_>) -> Result<Attempt> {
        let mut pause = wait.pause;
        loop {
            match self.attempt(file)? {
                Attempt::Busy(busy) if !wait.deadline.has_passed() => file = busy,
                attempt => return Ok(attempt),
            }
            wait.cancel.sleep(pause, wait.deadline);
            wait.cancel.check()?;
            pause = (pause * 2).min(wait.longest_pause);
            // The locked file may have been replaced, while the file at the path is free.
            if self.check != Check::None && self.current(&file)?.is_none() {
                return Ok(Attempt::Gone);
            }
        }
    }
}
