//! How a call ended: closed sets of words, and what is told beside them. Nothing the world does is an error.

use crate::core::failure::Cause;

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
    /// How a restore, inspect, prune, remove or probe ended.
    RestoreOutcome {
        Restored = "restored", Unchanged = "unchanged", Miss = "miss", Disabled = "disabled", Timeout = "timeout",
        Aborted = "aborted", Corrupt = "corrupt", Refused = "refused", Incompatible = "incompatible",
        TargetNotEmpty = "target-not-empty", Busy = "busy", NoSpace = "no-space", Denied = "denied",
        Unavailable = "unavailable", Superseded = "superseded", Error = "error", Pruned = "pruned", Removed = "removed",
        Probed = "probed",
    }
}

outcomes! {
    /// How a snapshot ended.
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
            // What another one signed is theirs.
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
