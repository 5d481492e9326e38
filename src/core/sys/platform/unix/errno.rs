//! Error numbers for [`crate::core::sys::errno`].

use std::io;

use rustix::io::Errno;

use super::super::types::Kind;

pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    is_one_of(
        error,
        &[Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP],
    )
}

pub(crate) fn is_without_locks(error: &io::Error) -> bool {
    is_unsupported(error) || is_one_of(error, &[Errno::NOLCK])
}

pub(crate) fn is_without_hard_links(error: &io::Error) -> bool {
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

pub(crate) fn is_access_denied(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::ACCESS])
}

pub(crate) fn is_wrong_kind(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::LOOP, Errno::ISDIR, Errno::NXIO, Errno::NODEV])
}

/// Advice if the system does not allow this user to create symbolic links. Always `None` here.
pub(crate) fn symlinks_refused(_error: &io::Error) -> Option<&'static str> {
    None
}

/// Error of opening this kind of entry.
pub(crate) fn wrong_kind(kind: Kind) -> io::Error {
    match kind {
        Kind::Directory => Errno::ISDIR,
        Kind::Symlink => Errno::LOOP,
        Kind::File | Kind::Other => Errno::NXIO,
    }
    .into()
}

pub(crate) fn already_exists() -> io::Error {
    Errno::EXIST.into()
}

/// Error of a call that could not start a thread.
pub(crate) fn no_threads() -> io::Error {
    Errno::AGAIN.into()
}

/// Error for an open directory that was moved.
pub(crate) fn moved() -> io::Error {
    Errno::STALE.into()
}

/// Error with this name, for fault injection.
#[cfg(feature = "testing")]
pub(crate) fn named(name: &str) -> io::Error {
    match name {
        "ENOSPC" => Errno::NOSPC,
        "EINTR" => Errno::INTR,
        "EACCES" => Errno::ACCESS,
        "EROFS" => Errno::ROFS,
        "EINVAL" => Errno::INVAL,
        "ENOLCK" => Errno::NOLCK,
        "ENOTSUP" => Errno::NOTSUP,
        "EPERM" => Errno::PERM,
        _ => Errno::IO,
    }
    .into()
}

/// Whether this process or machine has no file descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::MFILE, Errno::NFILE])
}

fn is_one_of(error: &io::Error, errnos: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|found| errnos.contains(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_meaning_has_its_error_numbers() {
        assert!(is_unsupported(&Errno::INVAL.into()));
        assert!(is_without_locks(&Errno::NOLCK.into()));
        assert!(is_without_hard_links(&Errno::PERM.into()));
        assert!(!is_access_denied(&Errno::PERM.into()));
        for kind in [Kind::Directory, Kind::Symlink, Kind::Other] {
            assert!(is_wrong_kind(&wrong_kind(kind)), "{kind:?}");
        }
        assert!(!is_wrong_kind(&Errno::NOENT.into()));
    }
}
