//! What a store can answer instead of the thing, told apart as far as a caller can act on it.

use std::fmt;

use crate::core::error::{Code, Error};

/// What a store answers.
pub type Answer<T> = std::result::Result<T, Failure>;

/// Why a store did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such object.
    NotFound,
    /// 401, 403, EACCES. On S3 also a missing object where `s3:ListBucket` is not granted.
    Denied,
    /// A condition was false: another version is there (412).
    Changed,
    /// Two conditional writes met (409): the same write can succeed when repeated.
    Conflict,
    /// Nothing moved for as long as silence is allowed.
    Stalled,
    /// The credential chain gave nothing in its own time.
    CredentialsTimeout,
    /// The credential chain gave nothing usable.
    CredentialsMissing,
    /// 5xx, 429, connection refused or reset, as often as the call allows: later it may work.
    Unavailable,
    /// The connection broke in the middle of an answer.
    Broken,
    /// The server answered a range with the whole object.
    RangeIgnored,
    /// The answer is not what was asked for: wrong range, wrong length, not our format.
    Malformed,
    /// The place is full.
    NoSpace,
    /// The configuration names something that does not exist, such as the bucket.
    Misconfigured,
    /// The caller gave up.
    Cancelled,
    /// A local system call failed.
    Local,
}

/// A store's refusal, with a message that never holds a secret.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What to do about it.
    pub kind: Kind,
    /// What a person reads.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Whether the same request can succeed within the same call.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            Kind::Broken | Kind::Stalled | Kind::Malformed | Kind::Conflict
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match (error.code, error.kind()) {
            (Code::Aborted, _) => Kind::Cancelled,
            (Code::Untrusted, _) => Kind::Denied,
            (_, Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)) => Kind::NotFound,
            (_, Some(std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)) => {
                Kind::Denied
            }
            (_, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) => Kind::NoSpace,
            _ => Kind::Local,
        };
        Self::new(kind, error.message)
    }
}
