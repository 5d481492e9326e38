//! Which file to lock, and the attempt to lock it.

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

/// How a locked file is recognised as the one at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// By device and inode of the entry at the path.
    Path,
    /// By its link count. Enough where the file has one name, is never moved, and is removed only under its lock.
    Links,
    /// Not at all: the caller removes the file, or nobody does.
    None,
}

/// Which files are opened.
#[derive(Debug, Clone, Copy)]
enum Open {
    Existing(Access),
    OrCreate(u32),
    New(u32),
}

/// Which file to lock, and how. By default an existing file, opened for reading and locked exclusively, is recognised by
/// its path.
#[derive(Debug, Clone, Copy)]
pub struct LockOptions<'a> {
    entry: Entry<'a>,
    open: Open,
    is_shared: bool,
    check: Check,
    is_lock_optional: bool,
}

/// The result of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// This process has the lock.
    Locked(LockedFile),
    /// Another open file has it.
    Busy(LockFile),
    /// There is no such file, or the open one is no longer the one at its path.
    Gone,
}

/// How long to wait for a lock, and how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// When the last attempt is made.
    pub deadline: Deadline,
    /// Ends the wait with `ERR_ABORTED`.
    pub cancel: &'a Cancel,
    /// The pause after the first attempt. It doubles after each further one, up to `longest_pause`.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl<'a> LockOptions<'a> {
    /// The file at this path.
    pub fn at(path: &'a Path) -> Self {
        Self::of(Entry::At(path))
    }

    /// The file of this name in an open directory. `path` is for errors.
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

    /// Opens the file for reading and writing, and creates it with this mode if it does not exist. flock needs no
    /// permission to write, so a file that this user may only read is opened for reading.
    #[must_use]
    pub fn or_create(self, mode: u32) -> Self {
        Self {
            open: Open::OrCreate(mode),
            ..self
        }
    }

    /// Creates the file with this mode; fails with `AlreadyExists` if there is an entry of its name.
    #[must_use]
    pub fn create_new(self, mode: u32) -> Self {
        Self {
            open: Open::New(mode),
            ..self
        }
    }

    /// Takes a shared lock.
    #[must_use]
    pub fn shared(self) -> Self {
        Self {
            is_shared: true,
            ..self
        }
    }

    /// How the file is recognised after it was locked.
    #[must_use]
    pub fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// A file that cannot be locked, because its filesystem has no locks, counts as locked:
    /// [`LockedFile::has_lock`] returns `false` then.
    #[must_use]
    pub fn even_without_locks(self) -> Self {
        Self {
            is_lock_optional: true,
            ..self
        }
    }

    /// Opens the file without locking it. `None` if it does not exist and is not to be created.
    ///
    /// # Errors
    /// Those of the system calls. Anything but a regular file is an error that names it.
    pub fn open(&self) -> Result<Option<LockFile>> {
        match self.open {
            // One fstat after the lock says all that Check::Links needs.
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
                // For a user who may not create the file either, the first error is the helpful one.
                let opened = self.entry.open(Access::Read).map_err(|_| error);
                (opened?, false)
            }
            opened => (opened?, true),
        };
        Ok(LockFile::opened(opened.0, Some(opened.1), is_writable))
    }

    /// Locks an open file if it is free now.
    ///
    /// # Errors
    /// Those of the system calls, and of a filesystem without locks unless [`even_without_locks`] was called.
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

    /// What the file is now, if it is still the one at its path.
    ///
    /// # Errors
    /// Those of the system calls. Anything but a regular file is an error that names it.
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

    /// Opens the file and locks it if it is free now. Starts again while the file is replaced.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`attempt`](Self::attempt).
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

    /// As [`try_lock`](Self::try_lock), and waits on this thread while the lock is busy. [`Attempt::Busy`] means that
    /// the deadline has passed.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock), and `ERR_ABORTED`.
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

    /// As [`lock`](Self::lock), for a file or directory that is open. [`Attempt::Gone`] if it is no longer the one at its
    /// path.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt), and `ERR_ABORTED`.
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
            // The file that is locked can be one that was replaced, while the one at the path is free.
            if self.check != Check::None && self.current(&file)?.is_none() {
                return Ok(Attempt::Gone);
            }
        }
    }
}
