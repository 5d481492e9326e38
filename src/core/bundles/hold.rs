//! Shared locks on generations.

use std::fs::File;
use std::path::Path;

use rustix::fs::OFlags;

use crate::core::error::{Optional, Result};
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::{fault, flock};

use super::errors::gone;
use super::pointer;
use super::store::Store;

/// A hold for the length of a Rust scope.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) file: File,
}

impl Hold {
    /// Holds whatever is current; `None` where nothing is. Starts again only while the pointer changes.
    pub(super) fn current(store: &Store) -> Result<Option<(u64, Self)>> {
        let mut failed_before = None;
        while let Some(number) = pointer::read(&store.layout)? {
            match Self::take(store, number) {
                Ok(hold) => return Ok(Some((number, hold))),
                Err(error) if failed_before == Some(number) => return Err(error),
                Err(_) => failed_before = Some(number),
            }
        }
        Ok(None)
    }

    /// Holds a generation that may or may not be current.
    pub(super) fn take(store: &Store, number: u64) -> Result<Self> {
        match lock_shared(&store.layout.pin(number))? {
            Locked::Held(file, _) => Ok(Self { file }),
            Locked::Missing | Locked::Busy => Err(gone(number)),
        }
    }
}

/// What trying to lock a generation found.
pub(super) enum Locked {
    /// With what the file is.
    Held(File, Stat),
    /// The collector has it.
    Busy,
    /// Collected, or never there.
    Missing,
}

pub(super) fn lock_shared(path: &Path) -> Result<Locked> {
    // One fstat after the lock says what it is, so `open_regular`, which makes one of its own, would be one too many.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match fs::open(path, flags).optional() {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Locked::Missing),
        Err(_) => return not_a_lock_file(path),
    };
    if !fault::mutant("no-reader-lock") && !flock::try_shared(&file, path)? {
        return Ok(Locked::Busy);
    }
    let stat = fs::stat_file(&file, path)?;
    if stat.kind != Kind::File {
        return not_a_lock_file(path);
    }
    // The collector unlinks under its lock: a lock on an unlinked file holds nothing.
    if stat.links == 0 && !fault::mutant("no-recheck") {
        return Ok(Locked::Missing);
    }
    Ok(Locked::Held(file, stat))
}

/// The error that names what is in the place of a lock file.
fn not_a_lock_file(path: &Path) -> Result<Locked> {
    fs::open_regular(path, OFlags::RDONLY)?;
    // It was replaced by a regular file in between.
    Ok(Locked::Missing)
}
