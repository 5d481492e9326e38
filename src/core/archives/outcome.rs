//! Outcomes of an unpack, with the names of `RestoreOutcome`.

use crate::core::failure::Cause;

/// Outcome of an unpack that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the documented outcome table describes each of them")]
pub enum UnpackOutcome {
    Corrupt,
    Refused,
    Unstable,
    TargetNotEmpty,
    Busy,
    NoSpace,
    Denied,
    Timeout,
    Aborted,
    TooLarge,
    Error,
}

impl UnpackOutcome {
    /// Name of the outcome in JavaScript.
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

impl From<Cause> for UnpackOutcome {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Corrupt => Self::Corrupt,
            Cause::Refused => Self::Refused,
            Cause::Unstable => Self::Unstable,
            Cause::TargetNotEmpty => Self::TargetNotEmpty,
            Cause::Busy => Self::Busy,
            Cause::NoSpace => Self::NoSpace,
            Cause::Denied => Self::Denied,
            Cause::Timeout => Self::Timeout,
            Cause::Aborted => Self::Aborted,
            Cause::TooLarge => Self::TooLarge,
            // An unpack uses no store.
            Cause::Incompatible
            | Cause::Empty
            | Cause::Shrunk
            | Cause::Superseded
            | Cause::NotFound
            | Cause::Changed
            | Cause::Conflict
            | Cause::Stalled
            | Cause::CredentialsTimeout
            | Cause::CredentialsMissing
            | Cause::CredentialsRefused
            | Cause::Unguarded
            | Cause::Unavailable
            | Cause::Broken
            | Cause::RangeIgnored
            | Cause::Malformed
            | Cause::Misconfigured
            | Cause::Other => Self::Error,
        }
    }
}
