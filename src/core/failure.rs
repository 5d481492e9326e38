//! Why a call on an archive or a cache ended early: a cause that the caller can act on, the stage, and the error behind
//! it. Each verb has one table from [`Cause`] to its own outcome.

use std::io;
use std::path::Path;

use crate::core::error::{Code, Error};

/// Result of the calls that end with an outcome.
pub type Result<T> = std::result::Result<T, Failure>;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The bytes are damaged, or are not those that were expected.
    Corrupt,
    /// The archive is over a limit, would leave the target, or can be read in two ways; or a signature is wrong.
    Refused,
    /// Written in another layout, or on another kind of machine.
    Incompatible,
    /// The tree changed while it was read.
    Unstable,
    /// The tree is larger than what is allowed.
    TooLarge,
    /// The tree has too little in it to become a generation.
    Empty,
    /// The tree is much smaller than the current generation.
    Shrunk,
    /// The target is not empty and the mode is 'if-empty'.
    TargetNotEmpty,
    /// Another call or process is using it.
    Busy,
    /// The disk or a quota is full.
    NoSpace,
    /// Permission is missing or the filesystem is read-only. On S3 also a missing object where `s3:ListBucket` is not
    /// granted.
    Denied,
    /// The deadline passed.
    Timeout,
    /// The caller cancelled.
    Aborted,
    /// Another generation was published in the meantime.
    Superseded,
    /// The store has no such object.
    NotFound,
    /// A condition was false: the store has another version (412).
    Changed,
    /// Two conditional writes met (409): the same write can succeed when repeated.
    Conflict,
    /// Nothing moved for as long as silence is allowed.
    Stalled,
    /// The credential chain gave nothing in its own time.
    CredentialsTimeout,
    /// The credential chain gave nothing usable.
    CredentialsMissing,
    /// The store does not accept the credentials: an unknown key, a wrong secret, an expired token, a wrong clock.
    CredentialsRefused,
    /// The store does not honour conditional writes, and the caller requires them.
    Unguarded,
    /// 5xx, 429, connection refused or reset, as often as the call allows: later it may work.
    Unavailable,
    /// The connection broke in the middle of an answer.
    Broken,
    /// The server answered a range with the whole object.
    RangeIgnored,
    /// The answer is not what the request was for: wrong range, wrong length, not our format.
    Malformed,
    /// The configuration names something that does not exist, such as the bucket.
    Misconfigured,
    /// Anything else, such as a local system call.
    Other,
}

impl Cause {
    /// The code of a failure that has no error of its own.
    fn code(self) -> Code {
        match self {
            Self::Corrupt => Code::GenerationCorrupt,
            Self::Refused | Self::Unguarded => Code::Unsupported,
            Self::TooLarge => Code::TooLarge,
            Self::Timeout => Code::Timeout,
            Self::Aborted => Code::Aborted,
            _ => Code::Io,
        }
    }
}

/// What a call is doing; also the names of its timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waits for credentials.
    Credentials,
    /// Finds out what a key means.
    Lookup,
    /// Reads the archive.
    Download,
    /// Decompresses and parses.
    Decode,
    /// Makes the stage and writes files.
    Write,
    /// Waits until the tree is quiet.
    Quiet,
    /// Reads and compresses the tree.
    Pack,
    /// Sends the archive.
    Upload,
    /// Reads the archive back.
    Verify,
    /// Makes the result visible.
    Commit,
}

impl Stage {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Lookup => "lookup",
            Self::Download => "download",
            Self::Decode => "decode",
            Self::Write => "write",
            Self::Quiet => "quiet",
            Self::Pack => "pack",
            Self::Upload => "upload",
            Self::Verify => "verify",
            Self::Commit => "commit",
        }
    }
}

/// An early end: its cause, the stage if the place that failed knows it, and what a person reads.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// What a caller can act on.
    pub cause: Cause,
    /// What was being done.
    pub stage: Option<Stage>,
    /// What went wrong, for people and for `strict`. Never holds a secret.
    pub error: Error,
}

impl Failure {
    /// A failure with a message for people.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            stage: None,
            error: Error::new(cause.code(), message),
        }
    }

    /// The bytes are damaged or not what was promised.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Cause::Corrupt, message)
    }

    /// The archive asks for something that is not given.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Cause::Refused, message)
    }

    /// The archive is over a limit of the reader.
    pub fn over_limit(message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Refused,
            stage: None,
            error: Error::new(Code::TooLarge, message),
        }
    }

    /// The tree changed while it was read.
    pub fn unstable(message: impl Into<String>) -> Self {
        Self::new(Cause::Unstable, message)
    }

    /// The failure inside an error of a reader: one that a source passed on, a system error, or damaged bytes,
    /// which is what decoders mean by an error without an errno.
    pub fn of_read(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Error::io("read", Path::new("the archive"), error).into();
        }
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::corrupt(format!("the archive is damaged: {error}")),
        }
    }

    /// Sets the stage, unless it is known.
    #[must_use]
    pub fn during(mut self, stage: Stage) -> Self {
        self.stage.get_or_insert(stage);
        self
    }
}

/// For all callers that wait for the same thing.
impl Clone for Failure {
    fn clone(&self) -> Self {
        Self {
            error: self.error.again(),
            ..*self
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            cause: cause_of(&error),
            stage: None,
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

fn cause_of(error: &Error) -> Cause {
    match error.code {
        Code::Aborted => return Cause::Aborted,
        Code::Timeout => return Cause::Timeout,
        Code::TooLarge => return Cause::TooLarge,
        Code::Untrusted => return Cause::Denied,
        _ => {}
    }
    match error.kind() {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Cause::NoSpace,
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => Cause::Denied,
        Some(io::ErrorKind::ResourceBusy) => Cause::Busy,
        _ => Cause::Other,
    }
}
