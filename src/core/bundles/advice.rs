//! The way out, for errors in which the operating system names none.

use std::io::ErrorKind;

use crate::core::error::{Error, Result};

/// Adds to a failed write what can be done about it.
pub(super) fn with_advice<T>(result: Result<T>) -> Result<T> {
    result.map_err(|error| match error.kind().and_then(advice_for) {
        Some(advice) => Error {
            message: format!("{}; {advice}", error.message),
            ..error
        },
        None => error,
    })
}

/// Without the failure to write on a full disk: what could not be written frees no space, and the next writer writes it.
pub(super) fn unless_full(written: Result<()>) -> Result<()> {
    match written {
        Err(error) if error.is_full() => Ok(()),
        written => written,
    }
}

fn advice_for(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(
            "the current generation is as it was: free space there, keep fewer generations, or put root on another filesystem",
        ),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Some(
            "this process cannot write there: put root where it can, or only read (pin() needs no write permission)",
        ),
        ErrorKind::InvalidFilename => Some("shorten root, or the path in the stage"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_full_disk_has_a_way_out_and_keeps_its_errno() {
        let full = Error::io(
            "write",
            Path::new("/store/a"),
            std::io::Error::from_raw_os_error(28),
        );
        let error = with_advice::<()>(Err(full)).expect_err("still an error");
        assert!(error.message.starts_with("write '/store/a': No space left"));
        assert!(error.message.contains("free space there"));
        assert_eq!(error.errno(), Some(28));
    }
}
