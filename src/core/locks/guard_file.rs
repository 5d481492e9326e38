//! The guard: a file that is made once and never unlinked or replaced by us, under flock in kernel mode. It
//! orders the takers of one kernel and makes the death of a holder visible at once.

use std::fs::File;
use std::path::PathBuf;

use super::neighbours::{self, Neighbours};
use super::path::LockPath;
use super::record::GuardId;
use super::shared;
use crate::core::error::{Optional as _, Result};
use crate::core::sys::fs::{Access, Kind, Stat};
use crate::core::sys::{fault, flock, fs, mark};

/// The guard file, open and not necessarily locked. Its descriptor is writable, because its last close tells
/// all waiters (IN_CLOSE_WRITE); so a waiter keeps it open, or it would wake the others by giving up.
#[derive(Debug)]
pub(super) struct GuardFile {
    file: File,
    path: PathBuf,
    id: GuardId,
    is_marked: bool,
}

/// The guard file, locked by this process.
#[derive(Debug)]
pub(super) struct LockedGuard(GuardFile);

/// How an attempt at the lock ended.
pub(super) enum Attempted {
    Locked(LockedGuard),
    Busy(GuardFile),
    /// The file is no longer the one at its path.
    Replaced,
}

/// Whether somebody has this guard, asked without waking those who wait for it: they hear of the end of writers. `None`
/// where there is another one, or none.
pub(super) fn is_busy(lock: &LockPath, id: GuardId) -> Result<Option<bool>> {
    let path = &*lock.guard();
    let Some((file, stat)) = fs::open_regular_with_stat(path, Access::Read).optional()? else {
        return Ok(None);
    };
    if (stat.device, stat.inode) != (id.device, id.inode) {
        return Ok(None);
    }
    flock::try_shared(&file, path).map(|is_free| Some(!is_free))
}

/// Whether a waiter has marked the guard file. Like [`is_busy`], this wakes no waiter.
pub(super) fn has_waiters(lock: &LockPath) -> Result<bool> {
    if fault::mutant("lock-no-line") {
        return Ok(false);
    }
    let path = &*lock.guard();
    let file = fs::open_any(path).optional()?;
    file.map_or(Ok(false), |file| mark::is_marked(&file, path))
}

impl GuardFile {
    /// Marks the guard file as waited for, until this waiter has the lock or closes the file. The mark is for fairness:
    /// where it cannot be set, the kernel decides which waiter is next.
    pub(super) fn mark_waiting(&mut self) {
        self.is_marked = self.is_marked || mark::mark(&self.file, &self.path).is_ok();
    }

    fn unmark_waiting(&mut self) {
        if self.is_marked {
            drop(mark::unmark(&self.file, &self.path));
            self.is_marked = false;
        }
    }

    /// Opens the guard, and makes it where it is missing. Some filesystems do not exclude through the descriptor
    /// that created the file (jj-vcs/jj#9736): it is another one that is locked.
    ///
    /// Another user's guard serves as well as this user's: it is locked and never read. Anything but a file is refused.
    pub(super) fn open(lock: &LockPath, neighbours: &Neighbours) -> Result<Self> {
        let path = &*lock.guard();
        let open = || -> Result<Option<(File, Stat)>> {
            let opened = fs::open_regular_with_stat(path, Access::ReadWrite).optional();
            opened.map_err(|error| neighbours::explain(error, path, "guard", Kind::File, Some(neighbours)))
        };
        let (file, stat) = if let Some(opened) = open()? {
            opened
        } else {
            // Nothing is made next to a folder that is no lock.
            if let Some(found) = super::lock_directory::read(lock, Some(neighbours))? {
                found.refuse_folder()?;
            }
            shared::make_file(path, &lock.next())?;
            fs::open_regular_with_stat(path, Access::ReadWrite)?
        };
        Ok(Self {
            file,
            path: path.to_path_buf(),
            id: GuardId {
                device: stat.device,
                inode: stat.inode,
            },
            is_marked: false,
        })
    }

    /// Takes the lock if it is free now.
    pub(super) fn attempt(mut self) -> Result<Attempted> {
        let locked = flock::try_exclusive(&self.file, &self.path)?;
        if !fault::mutant("lock-no-inode-check") && !self.is_current()? {
            return Ok(Attempted::Replaced);
        }
        if !locked {
            return Ok(Attempted::Busy(self));
        }
        self.unmark_waiting();
        Ok(Attempted::Locked(LockedGuard(self)))
    }

    fn is_current(&self) -> Result<bool> {
        let stat = fs::stat(&self.path).optional()?;
        Ok(stat.is_some_and(|stat| (stat.device, stat.inode) == (self.id.device, self.id.inode)))
    }
}

impl LockedGuard {
    pub(super) fn id(&self) -> GuardId {
        self.0.id
    }

    /// Whether the locked file is still the one at its path.
    pub(super) fn is_current(&self) -> Result<bool> {
        self.0.is_current()
    }

    pub(super) fn descriptor(&self) -> i32 {
        fs::descriptor(&self.0.file)
    }

    /// Gives the lock back and keeps the file open, so that nobody is woken.
    pub(super) fn unlock(self) -> Result<GuardFile> {
        flock::unlock(&self.0.file, &self.0.path)?;
        Ok(self.0)
    }

    /// Gives the lock back and wakes who waits.
    pub(super) fn release(self) -> Result<()> {
        if fault::mutant("lock-unlink-guard") {
            fs::remove_file(&self.0.path).optional()?;
        }
        // A child that inherited the descriptor must not keep what was given back.
        self.unlock().map(drop)
    }

    /// Closes our descriptor and leaves the lock to the children that have it.
    pub(super) fn leave_to_children(self) {
        drop(self);
    }
}
