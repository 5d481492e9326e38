//! Error numbers for [`crate::core::sys::errno`].

use std::io;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_BAD_DEV_TYPE, ERROR_CALL_NOT_IMPLEMENTED,
    ERROR_CANT_RESOLVE_FILENAME, ERROR_DIRECTORY_NOT_SUPPORTED, ERROR_INVALID_FUNCTION, ERROR_INVALID_NAME,
    ERROR_INVALID_PARAMETER, ERROR_MAX_THRDS_REACHED, ERROR_NOT_SUPPORTED, ERROR_PRIVILEGE_NOT_HELD,
    ERROR_TOO_MANY_LINKS, ERROR_TOO_MANY_OPEN_FILES, WIN32_ERROR,
};

use super::super::types::Kind;

/// Error with this number.
pub(super) fn of(code: WIN32_ERROR) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed())
}

pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || is_one_of(
            error,
            &[
                ERROR_INVALID_FUNCTION,
                ERROR_NOT_SUPPORTED,
                ERROR_CALL_NOT_IMPLEMENTED,
                ERROR_INVALID_PARAMETER,
                ERROR_PRIVILEGE_NOT_HELD,
            ],
        )
}

pub(crate) fn is_without_locks(error: &io::Error) -> bool {
    is_unsupported(error)
}

pub(crate) fn is_without_hard_links(error: &io::Error) -> bool {
    is_unsupported(error) || is_one_of(error, &[ERROR_TOO_MANY_LINKS])
}

pub(crate) fn is_access_denied(error: &io::Error) -> bool {
    is_one_of(error, &[ERROR_ACCESS_DENIED])
}

pub(crate) fn is_wrong_kind(error: &io::Error) -> bool {
    is_one_of(
        error,
        &[
            ERROR_CANT_RESOLVE_FILENAME,
            ERROR_DIRECTORY_NOT_SUPPORTED,
            ERROR_BAD_DEV_TYPE,
        ],
    )
}

/// Advice if the system does not allow this user to create symbolic links.
pub(crate) fn symlinks_refused(error: &io::Error) -> Option<&'static str> {
    is_unsupported(error).then_some(
        "This user may not create symbolic links. Enable Developer Mode in the settings of Windows, or omit the links",
    )
}

/// Error of opening this kind of entry.
pub(crate) fn wrong_kind(kind: Kind) -> io::Error {
    of(match kind {
        Kind::Directory => ERROR_DIRECTORY_NOT_SUPPORTED,
        Kind::Symlink => ERROR_CANT_RESOLVE_FILENAME,
        Kind::File | Kind::Other => ERROR_BAD_DEV_TYPE,
    })
}

pub(crate) fn already_exists() -> io::Error {
    of(ERROR_ALREADY_EXISTS)
}

/// Error of a call that could not start a thread.
pub(crate) fn no_threads() -> io::Error {
    of(ERROR_MAX_THRDS_REACHED)
}

/// Error for an open directory that was moved.
pub(crate) fn moved() -> io::Error {
    io::ErrorKind::StaleNetworkFileHandle.into()
}

/// Error for a name that Windows does not support.
pub(super) fn invalid_name() -> io::Error {
    of(ERROR_INVALID_NAME)
}

/// Error with this name, for fault injection.
#[cfg(feature = "testing")]
pub(crate) fn named(name: &str) -> io::Error {
    use windows_sys::Win32::Foundation::{ERROR_DISK_FULL, ERROR_IO_DEVICE, ERROR_WRITE_PROTECT};

    match name {
        "ENOSPC" => of(ERROR_DISK_FULL),
        "EINTR" => io::ErrorKind::Interrupted.into(),
        "EACCES" | "EPERM" => of(ERROR_ACCESS_DENIED),
        "EROFS" => of(ERROR_WRITE_PROTECT),
        "EINVAL" => of(ERROR_INVALID_PARAMETER),
        "ENOLCK" | "ENOTSUP" => of(ERROR_NOT_SUPPORTED),
        _ => of(ERROR_IO_DEVICE),
    }
}

/// Whether this process has no handle left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    is_one_of(error, &[ERROR_TOO_MANY_OPEN_FILES])
}

pub(super) fn is_one_of(error: &io::Error, codes: &[WIN32_ERROR]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|found| codes.contains(&found.cast_unsigned()))
}
