//! The guard file: it is created once, never replaced, and under flock in kernel mode. It serialises the acquirers of a
//! kernel lock and makes the death of a holder visible immediately. Only a sweep removes it, while holding its lock, so
//! every locker checks the inode afterwards.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::neighbours::{self, Neighbours};
use super::path::LockPath;
use super::record::GuardId;
use super::shared;
use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::child_file::{self, ChildFile};
use crate::core::sys::fs::{Kind, Stat};
use crate::core::sys::lock_file::{Attempt, Check, LockFile, LockOptions, LockedFile};
use crate::core::sys::{fault, fs, mark};

/// How often the guard may be removed while it is being opened, before the call fails.
const MAX_REMOVALS: usize = 100;

/// The guard file, open and not locked. The descriptor is writable, because closing the last writable one wakes all
/// waiters (IN_CLOSE_WRITE). A waiter keeps it open: closing it would wake the others.
#[derive(Debug)]
pub(super) struct GuardFile {
    file: LockFile,
    path: PathBuf,
    id: GuardId,
    is_marked: bool,
}

/// The guard file, locked by this process.
#[derive(Debug)]
pub(super) struct LockedGuard {
    file: LockedFile,
    path: PathBuf,
    id: GuardId,
    /// What children keep open, where they cannot keep the lock of this file.
    children: Option<ChildFile>,
}

/// Result of an attempt to lock the guard.
pub(super) enum Attempted {
    Locked(LockedGuard),
    Busy(GuardFile),
    /// The file is no longer the one at its path.
    Replaced,
}

/// Whether a process has locked this guard. The check does not close a writable descriptor, so it wakes no waiter.
/// Returns `None` if the path has another guard or none.
pub(super) fn is_busy(lock: &LockPath, id: GuardId) -> Result<Option<bool>> {
    let path = &*lock.guard();
    let options = LockOptions::at(path).shared().check(Check::None);
    let Some(file) = options.open()? else {
        return Ok(None);
    };
    if id_of(&file.stat(path)?) != id {
        return Ok(None);
    }
    Ok(Some(matches!(options.attempt(file)?, Attempt::Busy(_))))
}

/// Whether a waiter has marked the guard file. Wakes no waiter, like [`is_busy`].
pub(super) fn has_waiters(lock: &LockPath) -> Result<bool> {
    if fault::is_seeded("lock-no-line") {
        return Ok(false);
    }
    let path = &*lock.guard();
    let file = fs::open_any(path).optional()?;
    file.map_or(Ok(false), |file| mark::is_marked(&file, path))
}

impl GuardFile {
    /// Marks the guard file as waited for, until this waiter has the lock or closes the file. The mark provides
    /// fairness. If it cannot be set, the kernel decides which waiter is next.
    pub(super) fn mark_waiting(&mut self) {
        self.is_marked = self.is_marked || mark::mark(self.file.file(), &self.path).is_ok();
    }

    /// Opens the guard and creates it if it is missing. It is always opened a second time, because on some filesystems
    /// a lock on the descriptor that created the file does not exclude others (jj-vcs/jj#9736).
    ///
    /// Another user's guard works as well as this user's, because it is locked and never read. Anything but a file is
    /// refused.
    pub(super) fn open(lock: &LockPath, neighbours: &Neighbours) -> Result<Self> {
        let path = &*lock.guard();
        let options = LockOptions::at(path).writable();
        let open = || {
            let opened = options.open();
            opened.map_err(|error| neighbours::explain(error, path, "guard", Kind::File, Some(neighbours)))
        };
        let mut opened = open()?;
        // A sweep can remove a file that was just created.
        for _ in 0..MAX_REMOVALS {
            if opened.is_some() {
                break;
            }
            // No file is created next to an ordinary directory.
            if let Some(found) = super::lock_directory::read(lock, Some(neighbours))? {
                found.refuse_folder()?;
            }
            shared::make_file(path, &lock.next())?;
            opened = open()?;
        }
        let gone = || Error::io("open", path, ErrorKind::NotFound.into());
        let file = opened.ok_or_else(gone)?;
        Ok(Self {
            id: id_of(&file.stat(path)?),
            file,
            path: path.to_path_buf(),
            is_marked: false,
        })
    }

    /// Locks the guard file if it is free.
    pub(super) fn attempt(self) -> Result<Attempted> {
        let Self {
            file,
            path,
            id,
            is_marked,
        } = self;
        let options = LockOptions::at(&path);
        match options.attempt(file)? {
            Attempt::Locked(file) => {
                if is_marked {
                    drop(mark::unmark(file.file(), &path));
                }
                Ok(Attempted::Locked(LockedGuard {
                    file,
                    path,
                    id,
                    children: None,
                }))
            }
            Attempt::Busy(file)
                if fault::is_seeded("lock-file-unchecked") || options.current(&file)?.is_some() =>
            {
                Ok(Attempted::Busy(Self {
                    file,
                    path,
                    id,
                    is_marked,
                }))
            }
            Attempt::Busy(_) | Attempt::Gone => Ok(Attempted::Replaced),
        }
    }
}

impl LockedGuard {
    pub(super) fn id(&self) -> GuardId {
        self.id
    }

    /// Whether the locked file is still the one at its path.
    pub(super) fn is_current(&self) -> Result<bool> {
        let current = LockOptions::at(&self.path).current(&self.file)?;
        Ok(current.is_some())
    }

    /// Prepares the lock for children that keep it. `path` is the name for what they keep open, if that is needed.
    pub(super) fn cover_children(&mut self, path: &Path) -> Result<()> {
        if child_file::is_needed() {
            self.children = Some(child_file::create(path)?);
        }
        Ok(())
    }

    /// What a child inherits to keep the lock.
    pub(super) fn descriptor(&self) -> Result<i32> {
        match &self.children {
            Some(children) => child_file::descriptor(children, &self.path),
            None => Ok(fs::descriptor(self.file.file())),
        }
    }

    /// Unlocks the file and keeps it open, so that no waiter is woken.
    pub(super) fn unlock(self) -> Result<GuardFile> {
        let file = self.file.unlock(&self.path)?;
        Ok(GuardFile {
            file,
            path: self.path,
            id: self.id,
            is_marked: false,
        })
    }

    /// Unlocks and closes the file, which wakes the waiters.
    pub(super) fn release(self) -> Result<()> {
        if fault::is_seeded("lock-unlink-guard") {
            fs::remove_file(&self.path).optional()?;
        }
        // A child that inherited the descriptor must not keep a released lock.
        self.unlock().map(drop)
    }

    /// Removes the file, if it is still the one at its path. The lock is kept: a caller that has the file open acquires
    /// the lock afterwards and finds that the file no longer exists.
    pub(super) fn remove(&self) -> Result<bool> {
        Ok(self.is_current()? && fs::remove_file(&self.path).optional()?.is_some())
    }

    /// Closes this process's descriptors and leaves the lock to the children that inherited it.
    pub(super) fn leave_to_children(self) {
        drop(self.file.until_closed());
    }
}

fn id_of(stat: &Stat) -> GuardId {
    GuardId {
        device: stat.device,
        inode: stat.inode,
    }
}
