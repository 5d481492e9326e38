//! What a failed system call means, where `std::io::ErrorKind` does not say it. Everything else is asked by
//! [`Error::kind`]: `CrossesDevices`, `DirectoryNotEmpty`, `IsADirectory`, `NotADirectory`, `PermissionDenied`,
//! `ReadOnlyFilesystem`, `ResourceBusy`, `StorageFull`, `WouldBlock`.

use std::io;

use rustix::io::Errno;

use crate::core::error::Error;

/// Whether the kernel or the filesystem does not have this operation, or not with these options.
pub fn is_unsupported(error: &Error) -> bool {
    is_one_of(
        error,
        &[Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP],
    )
}

/// Whether the filesystem has no kernel locks.
pub fn lacks_locks(error: &Error) -> bool {
    error.op == Some("flock") && (is_unsupported(error) || is_one_of(error, &[Errno::NOLCK]))
}

/// Whether the filesystem refuses a further name for this file.
pub fn lacks_hard_links(error: &Error) -> bool {
    is_one_of(
        error,
        &[
            Errno::PERM,
            Errno::NOTSUP,
            Errno::OPNOTSUPP,
            Errno::NOSYS,
            Errno::MLINK,
        ],
    )
}

/// Whether permission bits refuse the call. `ErrorKind::PermissionDenied` also includes calls that the user may never do.
pub fn is_access_denied(error: &Error) -> bool {
    is_one_of(error, &[Errno::ACCESS])
}

/// Whether a file could not be opened because the entry is a link, a directory, a pipe, a socket or a device.
pub fn is_wrong_kind(error: &Error) -> bool {
    is_one_of(error, &[Errno::LOOP, Errno::ISDIR, Errno::NXIO, Errno::NODEV])
}

/// Whether a process of this pid does not exist (any more).
pub(super) fn is_no_process(error: &Error) -> bool {
    is_one_of(error, &[Errno::SRCH])
}

/// The error of a call that found an entry of the new name.
pub fn already_exists() -> io::Error {
    Errno::EXIST.into()
}

/// The error of a call that gets no thread.
pub(super) fn no_threads() -> io::Error {
    Errno::AGAIN.into()
}

fn is_one_of(error: &Error, errnos: &[Errno]) -> bool {
    error
        .errno()
        .is_some_and(|found| errnos.iter().any(|errno| errno.raw_os_error() == found))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_meaning_has_its_errnos() {
        let failed = |op, errno: Errno| Error::io(op, Path::new("/a"), errno.into());
        assert!(is_unsupported(&failed("renameat2", Errno::INVAL)));
        assert!(lacks_locks(&failed("flock", Errno::NOLCK)));
        assert!(!lacks_locks(&failed("open", Errno::NOSYS)));
        assert!(lacks_hard_links(&failed("link", Errno::PERM)));
        assert!(!is_access_denied(&failed("rename", Errno::PERM)));
        assert!(is_wrong_kind(&failed("open", Errno::LOOP)));
        assert!(!is_wrong_kind(&failed("open", Errno::NOENT)));
    }
}
