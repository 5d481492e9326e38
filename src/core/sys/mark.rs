//! Marks on open files: a shared lock of the open file description, which on Linux' local filesystems flock knows nothing
//! of (flock(2)). Elsewhere the two exclude each other, so nothing is marked there.

use std::fs::File;
use std::path::Path;

#[cfg(target_os = "linux")]
pub use linux::{is_marked, mark, unmark};

#[cfg(not(target_os = "linux"))]
pub use none::{is_marked, mark, unmark};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::AsRawFd as _;

    use super::{File, Path};
    use crate::core::error::{At as _, Result};
    use crate::core::sys::fault;

    /// Marks a file for [`is_marked`] as long as this descriptor, or a copy of it, is open: also a killed process marks
    /// nothing.
    pub fn mark(file: &File, path: &Path) -> Result<()> {
        lock_description(file, path, libc::F_OFD_SETLK, libc::F_RDLCK).map(drop)
    }

    /// Takes the mark back.
    pub fn unmark(file: &File, path: &Path) -> Result<()> {
        lock_description(file, path, libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)
    }

    /// Whether this file is marked through another descriptor. A question that takes nothing, so that nobody else's
    /// answer depends on it.
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
        let mut call = || {
            fault::point("fcntl", path)?;
            // SAFETY: the descriptor is open, and the kernel reads and writes one `struct flock` that outlives the call.
            let answer = unsafe { libc::fcntl(file.as_raw_fd(), operation, &raw mut asked) };
            if answer == -1 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        };
        // None of these waits, so that no signal interrupts them.
        call().at("fcntl", path)?;
        Ok(asked.l_type.into())
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use super::{File, Path};
    use crate::core::error::Result;

    /// Marks nothing.
    pub fn mark(_file: &File, _path: &Path) -> Result<()> {
        Ok(())
    }

    /// There is no mark.
    pub fn unmark(_file: &File, _path: &Path) -> Result<()> {
        Ok(())
    }

    /// Nobody knows.
    pub fn is_marked(_file: &File, _path: &Path) -> Result<bool> {
        Ok(true)
    }
}
