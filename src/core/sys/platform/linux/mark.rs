//! Locks of the open file description (fcntl(2)) on the first byte of a file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

pub(crate) fn set(file: &File) -> io::Result<()> {
    lock_description(file, libc::F_OFD_SETLK, libc::F_RDLCK).map(drop)
}

pub(crate) fn clear(file: &File) -> io::Result<()> {
    lock_description(file, libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)
}

pub(crate) fn is_set_elsewhere(file: &File) -> io::Result<bool> {
    lock_description(file, libc::F_OFD_GETLK, libc::F_WRLCK).map(|found| found != libc::F_UNLCK)
}

/// Returns the kind of the conflicting lock, if the operation queries it.
fn lock_description(file: &File, operation: i32, kind: i32) -> io::Result<i32> {
    let narrow = |value: i32| libc::c_short::try_from(value).unwrap_or_default();
    let mut asked = libc::flock {
        l_type: narrow(kind),
        l_whence: narrow(libc::SEEK_SET),
        l_start: 0,
        l_len: 1,
        // Must be 0, because the lock belongs to no process.
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the kernel reads and writes one `struct flock` that outlives the call.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), operation, &raw mut asked) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(asked.l_type.into())
}
