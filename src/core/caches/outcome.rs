//! Outcomes of calls. Conditions outside the program (network, disk, other processes) lead to an outcome, never to an
//! error.

use crate::core::failure::Cause;

macro_rules! outcomes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the documented outcome table describes each of them")]
        pub enum $name { $($variant,)+ }

        impl $name {
            /// Name of the outcome in JavaScript.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

outcomes! {
    /// Outcome of a restore, inspect, prune, remove or probe.
    RestoreOutcome {
        Restored = "restored", Unchanged = "unchanged", Miss = "miss", Disabled = "disabled", Timeout = "timeout",
        Aborted = "aborted", Corrupt = "corrupt", Refused = "refused", Incompatible = "incompatible",
        TargetNotEmpty = "target-not-empty", Busy = "busy", NoSpace = "no-space", Denied = "denied",
        Unavailable = "unavailable", Superseded = "superseded", Error = "error", Pruned = "pruned", Removed = "removed",
        Probed = "probed",
    }
}

outcomes! {
    /// Outcome of a snapshot.
    SnapshotOutcome {
        Uploaded = "uploaded", Unchanged = "unchanged", Empty = "empty", Shrunk = "shrunk", Unguarded = "unguarded", Unstable = "unstable",
        Superseded = "superseded", Busy = "busy", TooLarge = "too-large", Disabled = "disabled", Corrupt = "corrupt",
        Incompatible = "incompatible", Timeout = "timeout", Aborted = "aborted", Denied = "denied",
        Unavailable = "unavailable", NoSpace = "no-space", Error = "error",
    }
}

impl From<Cause> for RestoreOutcome {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::NotFound => Self::Miss,
            Cause::Denied | Cause::CredentialsMissing | Cause::CredentialsRefused => Self::Denied,
            Cause::Changed | Cause::Conflict | Cause::Superseded => Self::Superseded,
            Cause::Timeout | Cause::Stalled | Cause::CredentialsTimeout => Self::Timeout,
            Cause::Unavailable | Cause::Broken | Cause::RangeIgnored | Cause::Misconfigured => {
                Self::Unavailable
            }
            Cause::Corrupt | Cause::Malformed => Self::Corrupt,
            Cause::Refused | Cause::TooLarge => Self::Refused,
            Cause::Incompatible => Self::Incompatible,
            Cause::TargetNotEmpty => Self::TargetNotEmpty,
            Cause::Busy => Self::Busy,
            Cause::NoSpace => Self::NoSpace,
            Cause::Aborted => Self::Aborted,
            Cause::Unstable | Cause::Empty | Cause::Shrunk | Cause::Unguarded | Cause::Other => Self::Error,
        }
    }
}

impl From<Cause> for SnapshotOutcome {
    fn from(cause: Cause) -> Self {
        match cause {
            // An object with another signature must not be replaced.
            Cause::Denied | Cause::CredentialsMissing | Cause::CredentialsRefused | Cause::Refused => {
                Self::Denied
            }
            Cause::Changed | Cause::Conflict | Cause::Superseded => Self::Superseded,
            Cause::Timeout | Cause::Stalled | Cause::CredentialsTimeout => Self::Timeout,
            Cause::NotFound
            | Cause::Unavailable
            | Cause::Broken
            | Cause::RangeIgnored
            | Cause::Misconfigured => Self::Unavailable,
            Cause::Corrupt | Cause::Malformed => Self::Corrupt,
            Cause::Incompatible => Self::Incompatible,
            Cause::Unstable => Self::Unstable,
            Cause::TooLarge => Self::TooLarge,
            Cause::Empty => Self::Empty,
            Cause::Shrunk => Self::Shrunk,
            Cause::Unguarded => Self::Unguarded,
            Cause::Busy => Self::Busy,
            Cause::NoSpace => Self::NoSpace,
            Cause::Aborted => Self::Aborted,
            Cause::TargetNotEmpty | Cause::Other => Self::Error,
        }
    }
}
