//! How a call ended: closed sets of words, and what is told beside them. Nothing the world does is an error.

use super::store::{Failure, Kind};
pub use crate::core::failure::Stage;

macro_rules! outcomes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the README's outcome table says what each means")]
        pub enum $name { $($variant,)+ }

        impl $name {
            /// The word that JavaScript sees.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

outcomes! {
    /// How a restore, inspect, prune or remove ended.
    RestoreOutcome {
        Restored = "restored", Unchanged = "unchanged", Miss = "miss", Disabled = "disabled", Timeout = "timeout",
        Aborted = "aborted", Corrupt = "corrupt", Refused = "refused", Incompatible = "incompatible",
        TargetNotEmpty = "target-not-empty", Busy = "busy", NoSpace = "no-space", Denied = "denied",
        Unavailable = "unavailable", Superseded = "superseded", Error = "error", Pruned = "pruned", Removed = "removed",
    }
}

outcomes! {
    /// How a snapshot ended.
    SnapshotOutcome {
        Uploaded = "uploaded", Unchanged = "unchanged", Empty = "empty", Shrunk = "shrunk", Unstable = "unstable",
        Superseded = "superseded", Busy = "busy", TooLarge = "too-large", Disabled = "disabled", Corrupt = "corrupt",
        Incompatible = "incompatible", Timeout = "timeout", Aborted = "aborted", Denied = "denied",
        Unavailable = "unavailable", NoSpace = "no-space", Error = "error",
    }
}

impl From<&Failure> for RestoreOutcome {
    fn from(failure: &Failure) -> Self {
        match failure.kind {
            Kind::NotFound => Self::Miss,
            Kind::Denied | Kind::CredentialsMissing => Self::Denied,
            Kind::Changed | Kind::Conflict => Self::Superseded,
            Kind::Stalled | Kind::CredentialsTimeout => Self::Timeout,
            Kind::Unavailable | Kind::Broken | Kind::RangeIgnored | Kind::Misconfigured => Self::Unavailable,
            Kind::Malformed => Self::Corrupt,
            Kind::NoSpace => Self::NoSpace,
            Kind::Cancelled => Self::Aborted,
            Kind::Local => Self::Error,
        }
    }
}

impl From<&Failure> for SnapshotOutcome {
    fn from(failure: &Failure) -> Self {
        match failure.kind {
            Kind::Denied | Kind::CredentialsMissing => Self::Denied,
            Kind::Changed | Kind::Conflict => Self::Superseded,
            Kind::Stalled | Kind::CredentialsTimeout => Self::Timeout,
            Kind::NotFound | Kind::Unavailable | Kind::Broken | Kind::RangeIgnored | Kind::Misconfigured => {
                Self::Unavailable
            }
            Kind::Malformed => Self::Corrupt,
            Kind::NoSpace => Self::NoSpace,
            Kind::Cancelled => Self::Aborted,
            Kind::Local => Self::Error,
        }
    }
}
