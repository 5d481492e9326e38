//! Kernel locks on open files, and free disk space. A lock belongs to the open file description. It ends with the
//! process and survives SIGSTOP. Child programs do not inherit it, because every file here is opened with `O_CLOEXEC`.

use std::fs::File;
use std::path::Path;

use crate::core::error::{At as _, Result};
use crate::core::sys::call::call;
use crate::core::sys::platform::lock;

/// Acquires the exclusive lock if it is free. Never waits.
pub fn try_exclusive(file: &File, path: &Path) -> Result<bool> {
    call("flock", path, || lock::try_exclusive(file))
}

/// Acquires a shared lock unless the exclusive lock is held. Never waits.
pub fn try_shared(file: &File, path: &Path) -> Result<bool> {
    call("flock", path, || lock::try_shared(file))
}

/// Releases the lock before the descriptor is closed.
pub fn unlock(file: &File, path: &Path) -> Result<()> {
    loop {
        match lock::unlock(file) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            unlocked => return unlocked.at("flock", path),
        }
    }
}

/// Number of bytes that this user can still write to the filesystem of `path`.
pub fn available_space(path: &Path) -> Result<u64> {
    lock::available_space(path).at("statvfs", path)
}

/// Reserves `bytes` for a file that is about to be written.
pub fn allocate(file: &File, bytes: u64, path: &Path) -> Result<()> {
    lock::allocate(file, bytes).at("fallocate", path)
}
