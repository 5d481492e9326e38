//! Meanings of failed system calls that `std::io::ErrorKind` does not distinguish. Use [`Error::kind`] for all others:
//! `CrossesDevices`, `DirectoryNotEmpty`, `IsADirectory`, `NotADirectory`, `PermissionDenied`, `ReadOnlyFilesystem`,
//! `ResourceBusy`, `StorageFull`, `WouldBlock`.

use std::io;

use crate::core::error::Error;
use crate::core::sys::platform::errno;

/// Whether the kernel or the filesystem does not support this operation or its options.
pub fn is_unsupported(error: &Error) -> bool {
    error.source.as_ref().is_some_and(errno::is_unsupported)
}

/// Whether the filesystem does not support kernel locks.
pub fn lacks_locks(error: &Error) -> bool {
    error.op == Some("flock") && error.source.as_ref().is_some_and(errno::is_without_locks)
}

/// Whether the filesystem does not allow another hard link to this file.
pub fn lacks_hard_links(error: &Error) -> bool {
    error.source.as_ref().is_some_and(errno::is_without_hard_links)
}

/// Whether permission bits refuse the call. `ErrorKind::PermissionDenied` also covers calls that are never allowed to
/// this user.
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

/// Error of a call whose new name is in use.
pub fn already_exists() -> io::Error {
    errno::already_exists()
}

/// Error of a call that could not start a thread.
pub(super) fn no_threads() -> io::Error {
    errno::no_threads()
}
