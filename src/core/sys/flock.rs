//! Kernel locks on open files, and free space: the only file that names fs2.
//!
//! Calls are fully qualified because std has had methods of the same names since 1.89. fs2 does not retry
//! EINTR, so it is done here. flock belongs to the open file description: it dies with the process, survives
//! SIGSTOP, and never leaks while the descriptor is `O_CLOEXEC` (std and rustix set it).

use std::fs::File;
use std::io;
use std::path::Path;

use crate::core::error::{At, Result};
use crate::core::sys::fault;

fn retry(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn attempt(path: &Path, mut call: impl FnMut() -> io::Result<()>) -> io::Result<bool> {
    match retry(|| fault::point("flock", path).and_then(|()| call())) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the exclusive lock if it is free now. Never waits.
pub fn try_exclusive(file: &File, path: &Path) -> Result<bool> {
    attempt(path, || fs2::FileExt::try_lock_exclusive(file)).at("flock", path)
}

/// Takes a shared lock if nobody holds the exclusive one now. Never waits.
pub fn try_shared(file: &File, path: &Path) -> Result<bool> {
    attempt(path, || fs2::FileExt::try_lock_shared(file)).at("flock", path)
}

/// Gives the lock back before the descriptor is closed.
pub fn unlock(file: &File, path: &Path) -> Result<()> {
    retry(|| fs2::FileExt::unlock(file)).at("flock", path)
}

/// Bytes that this user can still write to the filesystem of `path`.
pub fn available_space(path: &Path) -> Result<u64> {
    fs2::available_space(path).at("statvfs", path)
}

/// Reserves `bytes` for a file that is about to be written.
pub fn allocate(file: &File, bytes: u64, path: &Path) -> Result<()> {
    fs2::FileExt::allocate(file, bytes).at("fallocate", path)
}
