//! Advice for system errors that do not name a solution.

use std::io::ErrorKind;

use crate::core::error::{Error, Result};

/// Appends advice to the message of a failed write.
pub(super) fn with_advice<T>(result: Result<T>) -> Result<T> {
    result.map_err(|error| match error.kind().and_then(advice_for) {
        Some(advice) => Error {
            message: format!("{}. {advice}", error.message),
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
            "The current generation is unchanged. Free disk space, keep fewer generations, or move root to another filesystem",
        ),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Some(
            "This process has no write permission. Move root to a writable directory, or only read (pin() needs no write permission)",
        ),
        ErrorKind::InvalidFilename => Some("Shorten root or the path in the stage"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn advice_is_appended_and_the_errno_kept() {
        let full = || std::io::Error::from_raw_os_error(if cfg!(windows) { 112 } else { 28 });
        let error = with_advice::<()>(Err(Error::io("write", Path::new("/store/a"), full())))
            .expect_err("still an error");
        assert_eq!(full().kind(), std::io::ErrorKind::StorageFull);
        assert!(
            error
                .message
                .starts_with(&format!("write '/store/a': {}", full()))
        );
        assert!(error.message.contains("Free disk space"));
        assert_eq!(error.errno(), full().raw_os_error());
    }
}
