//! Shared locks on generations. A locked generation is not collected.

use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::fs::Stat;
use crate::core::sys::lock_file::{Attempt, Check, LockOptions, LockedFile};
use crate::core::sys::{fault, flock};

use super::errors::generation_gone;
use super::pointer;
use super::store::Store;

/// A shared lock on a generation. Dropping it releases the lock.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) lock: LockedFile,
}

impl Hold {
    /// Locks the current generation. Returns `None` if there is none. Retries only while the pointer changes.
    pub(super) fn acquire_current(store: &Store) -> Result<Option<(u64, Self)>> {
        let mut failed_before = None;
        while let Some(number) = pointer::read(&store.layout)? {
            match Self::acquire(store, number) {
                Ok(hold) => return Ok(Some((number, hold))),
                Err(error) if failed_before == Some(number) => return Err(error),
                Err(_) => failed_before = Some(number),
            }
        }
        Ok(None)
    }

    /// Locks a generation, current or not.
    pub(super) fn acquire(store: &Store, number: u64) -> Result<Self> {
        match lock_shared(&store.layout.pin(number))? {
            SharedLock::Held(lock, _) => Ok(Self { lock }),
            SharedLock::Missing | SharedLock::Busy => Err(generation_gone(number)),
        }
    }
}

/// Result of an attempt to lock a generation.
pub(super) enum SharedLock {
    /// Locked, with the stat of the lock file.
    Held(LockedFile, Stat),
    /// A collector holds the exclusive lock.
    Busy,
    /// The generation was collected or never existed.
    Missing,
}

pub(super) fn lock_shared(path: &Path) -> Result<SharedLock> {
    // A collector removes the file under its own lock. A lock on a removed file protects nothing.
    let check = if fault::is_seeded("no-recheck") {
        Check::None
    } else {
        Check::Links
    };
    match LockOptions::at(path).shared().check(check).try_lock()? {
        Attempt::Locked(lock) => {
            if fault::is_seeded("no-reader-lock") {
                flock::unlock(lock.file(), path)?;
            }
            let stat = lock.stat(path)?;
            Ok(SharedLock::Held(lock, stat))
        }
        Attempt::Busy(_) => Ok(SharedLock::Busy),
        Attempt::Gone => Ok(SharedLock::Missing),
    }
}
