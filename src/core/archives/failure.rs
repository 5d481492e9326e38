//! Why an archive was not written, read or committed: an outcome that the caller can act on, with the error
//! behind it.

use std::io;

use crate::core::error::{Code, Error};

/// Result of the calls that can end with an outcome.
pub type Result<T> = std::result::Result<T, Failure>;

/// How an advisory call ended, if not well. The names are those of `RestoreOutcome` and `SnapshotOutcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The bytes are not an archive, are damaged, or are not those that were promised.
    Corrupt,
    /// The archive is over a limit, would leave the target, or can be read in two ways.
    Refused,
    /// The tree changed while it was read.
    Unstable,
    /// The target is not empty and the mode is 'if-empty'.
    TargetNotEmpty,
    /// Somebody else is using it.
    Busy,
    /// The disk or a quota is full.
    NoSpace,
    /// Permission is missing or the filesystem is read-only.
    Denied,
    /// The deadline passed.
    Timeout,
    /// The caller cancelled.
    Aborted,
    /// The tree is larger than what is allowed.
    TooLarge,
    /// Anything else.
    Error,
}

impl Outcome {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Unstable => "unstable",
            Self::TargetNotEmpty => "target-not-empty",
            Self::Busy => "busy",
            Self::NoSpace => "no-space",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Aborted => "aborted",
            Self::TooLarge => "too-large",
            Self::Error => "error",
        }
    }
}

/// An outcome and what led to it.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// How the call ended.
    pub outcome: Outcome,
    /// What went wrong, for people and for `strict`.
    pub error: Error,
}

impl Failure {
    /// The bytes are damaged or not what was promised.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Corrupt,
            error: Error::new(Code::GenerationCorrupt, message),
        }
    }

    /// The archive asks for something that is not given.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Refused,
            error: Error::new(Code::Unsupported, message),
        }
    }

    /// The archive is over a limit of the reader.
    pub fn over_limit(message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Refused,
            error: Error::new(Code::TooLarge, message),
        }
    }

    /// The tree changed while it was read.
    pub fn unstable(message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Unstable,
            error: Error::new(Code::Io, message),
        }
    }

    /// The failure inside an error of a reader: one that a source passed on, a system error, or damaged bytes,
    /// which is what decoders mean by an error without an errno.
    pub fn of_read(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Error::io("read", std::path::Path::new("the archive"), error).into();
        }
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::corrupt(format!("the archive is damaged: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            outcome: outcome_of(&error),
            error,
        }
    }
}

/// So that a source can end a reader with its own failure; [`Failure::of_read`] takes it out again.
impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(failure)
    }
}

fn outcome_of(error: &Error) -> Outcome {
    match error.code {
        Code::Aborted => return Outcome::Aborted,
        Code::Timeout => return Outcome::Timeout,
        Code::TooLarge => return Outcome::TooLarge,
        Code::Untrusted => return Outcome::Denied,
        _ => {}
    }
    match error.kind() {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Outcome::NoSpace,
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => Outcome::Denied,
        Some(io::ErrorKind::ResourceBusy) => Outcome::Busy,
        _ => Outcome::Error,
    }
}
