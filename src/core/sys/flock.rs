//! Kernel locks on open files, and free space: the only file that names fs2.
//!
//! Calls are fully qualified because std has had methods of the same names since 1.89. fs2 does not retry
//! EINTR, so it is done here. flock belongs to the open file description: it dies with the process, survives
//! SIGSTOP, and never leaks while the descriptor is `O_CLOEXEC` (std and rustix set it).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
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

/// Marks a file for [`is_marked`] as long as this descriptor, or a copy of it, is open: also a killed process marks
/// nothing. A shared lock of the open file description, which on local filesystems flock knows nothing of (flock(2)).
pub fn mark(file: &File, path: &Path) -> Result<()> {
    lock_description(file, path, libc::F_OFD_SETLK, libc::F_RDLCK).map(drop)
}

/// Takes the mark back.
pub fn unmark(file: &File, path: &Path) -> Result<()> {
    lock_description(file, path, libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)
}

/// Whether this file is marked through another descriptor. A question that takes nothing, so that nobody else's answer
/// depends on it.
pub fn is_marked(file: &File, path: &Path) -> Result<bool> {
    lock_description(file, path, libc::F_OFD_GETLK, libc::F_WRLCK).map(|found| found != libc::F_UNLCK)
}

/// Calls fcntl(2) for the first byte. Returns the kind of the lock that is in the way, if it was asked for that.
fn lock_description(file: &File, path: &Path, operation: i32, kind: i32) -> Result<i32> {
    let narrow = |value: i32| libc::c_short::try_from(value).unwrap_or_default();
    let mut asked = libc::flock {
        l_type: narrow(kind),
        l_whence: narrow(libc::SEEK_SET),
        l_start: 0,
        l_len: 1,
        // Must be 0: the lock belongs to no process.
        l_pid: 0,
    };
    retry(|| {
        fault::point("fcntl", path)?;
        // SAFETY: the descriptor is open, and the kernel reads and writes one `struct flock` that outlives the call.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), operation, &raw mut asked) };
        if answer == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    })
    .at("fcntl", path)?;
    Ok(asked.l_type.into())
}

/// Bytes that this user can still write to the filesystem of `path`.
pub fn available_space(path: &Path) -> Result<u64> {
    fs2::available_space(path).at("statvfs", path)
}

/// Reserves `bytes` for a file that is about to be written.
pub fn allocate(file: &File, bytes: u64, path: &Path) -> Result<()> {
    fs2::FileExt::allocate(file, bytes).at("fallocate", path)
}
