//! flock(2), and free disk space. Calls are fully qualified, because std has methods with the same names since 1.89.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::core::sys::fault;

/// Locks a file exclusively if it is free.
pub(crate) fn try_exclusive(file: &File) -> io::Result<bool> {
    is_free(fs2::FileExt::try_lock_exclusive(file))
}

/// Acquires a shared lock on a file if possible.
pub(crate) fn try_shared(file: &File) -> io::Result<bool> {
    is_free(fs2::FileExt::try_lock_shared(file))
}

fn is_free(locked: io::Result<()>) -> io::Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn unlock(file: &File) -> io::Result<()> {
    if fault::is_seeded("unlock-by-close") {
        return Ok(());
    }
    fs2::FileExt::unlock(file)
}

/// A locked directory. Dropping it releases the lock.
#[derive(Debug)]
pub struct DirectoryLock(File);

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // A child between fork and exec also has the descriptor and must not keep the lock. The file is closed next.
        drop(unlock(&self.0));
    }
}

/// Locks a directory exclusively if it is free.
pub(crate) fn try_directory(directory: &OwnedFd) -> io::Result<Option<DirectoryLock>> {
    let file = File::from(directory.try_clone()?);
    Ok(try_exclusive(&file)?.then_some(DirectoryLock(file)))
}

/// Number of bytes that this user can still write to the filesystem of `path`.
pub(crate) fn available_space(path: &Path) -> io::Result<u64> {
    fs2::available_space(path)
}

/// Reserves the first `bytes` of a file.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    fs2::FileExt::allocate(file, bytes)
}
