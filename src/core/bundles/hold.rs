//! Shared locks on generations, which keep them from being collected.

use std::fs::File;
use std::path::Path;

use crate::core::error::{Optional, Result};
use crate::core::sys::fs::{self, Access, Kind, Stat};
use crate::core::sys::{fault, flock};

use super::errors::gone;
use super::pointer;
use super::store::Store;

/// A shared lock on a generation, released when it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) file: File,
}

impl Hold {
    /// Locks the current generation; `None` where there is none. Starts again only while the pointer changes.
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

    /// Locks a generation that may or may not be current.
    pub(super) fn acquire(store: &Store, number: u64) -> Result<Self> {
        match lock_shared(&store.layout.pin(number))? {
            SharedLock::Held(file, _) => Ok(Self { file }),
            SharedLock::Missing | SharedLock::Busy => Err(gone(number)),
        }
    }
}

/// The result of trying to lock a generation.
pub(super) enum SharedLock {
    /// Locked; with the stat of the lock file.
    Held(File, Stat),
    /// A collector holds the exclusive lock.
    Busy,
    /// The generation was collected, or never existed.
    Missing,
}

pub(super) fn lock_shared(path: &Path) -> Result<SharedLock> {
    // One fstat after the lock says what it is, so `open_regular`, which makes one of its own, would be one too many.
    let file = match fs::open_any(path).optional() {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(SharedLock::Missing),
        Err(_) => return not_a_lock_file(path),
    };
    if !fault::mutant("no-reader-lock") && !flock::try_shared(&file, path)? {
        return Ok(SharedLock::Busy);
    }
    let stat = fs::stat_file(&file, path)?;
    if stat.kind != Kind::File {
        return not_a_lock_file(path);
    }
    // The collector unlinks under its lock: a lock on an unlinked file holds nothing.
    if stat.links == 0 && !fault::mutant("no-recheck") {
        return Ok(SharedLock::Missing);
    }
    Ok(SharedLock::Held(file, stat))
}

/// The error that names what is in the place of a lock file.
fn not_a_lock_file(path: &Path) -> Result<SharedLock> {
    fs::open_regular(path, Access::Read)?;
    // It was replaced by a regular file in between.
    Ok(SharedLock::Missing)
}
