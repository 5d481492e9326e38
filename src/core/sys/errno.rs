//! What a failed system call means, where `std::io::ErrorKind` does not say it. Everything else is asked by
//! [`Error::kind`]: `CrossesDevices`, `DirectoryNotEmpty`, `IsADirectory`, `NotADirectory`, `PermissionDenied`,
//! `ReadOnlyFilesystem`, `ResourceBusy`, `StorageFull`, `WouldBlock`.

use std::io;

use crate::core::error::Error;
use crate::core::sys::platform::errno;

/// Whether the kernel or the filesystem does not have this operation, or not with these options.
pub fn is_unsupported(error: &Error) -> bool {
    error.source.as_ref().is_some_and(errno::is_unsupported)
}

/// Whether the filesystem has no kernel locks.
pub fn lacks_locks(error: &Error) -> bool {
    error.op == Some("flock") && error.source.as_ref().is_some_and(errno::is_without_locks)
}

/// Whether the filesystem refuses a further name for this file.
pub fn lacks_hard_links(error: &Error) -> bool {
    error.source.as_ref().is_some_and(errno::is_without_hard_links)
}

/// Whether permission bits refuse the call. `ErrorKind::PermissionDenied` also includes calls that the user may never do.
pub fn is_access_denied(error: &Error) -> bool {
    error.source.as_ref().is_some_and(errno::is_access_denied)
}

/// Whether a file could not be opened because the entry is a link, a directory, a pipe, a socket or a device.
pub fn is_wrong_kind(error: &Error) -> bool {
    error.source.as_ref().is_some_and(errno::is_wrong_kind)
}

/// Whether this process or machine has no file descriptor left.
pub fn is_out_of_descriptors(error: &Error) -> bool {
    error.source.as_ref().is_some_and(errno::is_out_of_descriptors)
}

/// The error of a call that found an entry of the new name.
pub fn already_exists() -> io::Error {
    errno::already_exists()
}

/// The error of a call that gets no thread.
pub(super) fn no_threads() -> io::Error {
    errno::no_threads()
}
