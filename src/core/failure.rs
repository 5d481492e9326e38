//! Failures of archive and cache calls. A failure has a cause that the caller can act on, the stage in which it
//! occurred, and the underlying error. Each operation maps [`Cause`] to its own outcomes.

use std::io;
use std::path::Path;

use crate::core::error::{Code, Error};

/// Result of a call that ends with an outcome.
pub type Result<T> = std::result::Result<T, Failure>;

/// Cause of a failure, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The data is damaged or differs from what was expected.
    Corrupt,
    /// The archive exceeds a limit, would write outside the target or is ambiguous, or a signature is wrong.
    Refused,
    /// The data has another format version or was made for another kind of machine.
    Incompatible,
    /// The tree changed while it was being read.
    Unstable,
    /// The tree exceeds a size limit.
    TooLarge,
    /// The tree has too few files or bytes for a generation.
    Empty,
    /// The tree is much smaller than the current generation.
    Shrunk,
    /// The target is not empty and the mode is 'if-empty'.
    TargetNotEmpty,
    /// Another call or process is using the target.
    Busy,
    /// The disk or a quota is full.
    NoSpace,
    /// A permission is missing or the filesystem is read-only. Without `s3:ListBucket`, S3 also reports a missing
    /// object this way.
    Denied,
    /// The deadline passed.
    Timeout,
    /// The caller cancelled the call.
    Aborted,
    /// Another generation was published in the meantime.
    Superseded,
    /// The store does not have the object.
    NotFound,
    /// The condition of a conditional request was false: the store has another version (412).
    Changed,
    /// Two conditional writes collided (409). A retry can succeed.
    Conflict,
    /// No bytes arrived for longer than the idle timeout.
    Stalled,
    /// The credential chain did not respond within its own timeout.
    CredentialsTimeout,
    /// The credential chain found no usable credentials.
    CredentialsMissing,
    /// The store rejected the credentials: unknown key, wrong secret, expired token or wrong clock.
    CredentialsRefused,
    /// The caller requires conditional writes, and the store does not honour them.
    Unguarded,
    /// 5xx, 429, connection refused or connection reset, after all attempts. A later call may succeed.
    Unavailable,
    /// The connection broke in the middle of a response.
    Broken,
    /// The server responded to a range request with the whole object.
    RangeIgnored,
    /// The response does not match the request: wrong range, wrong length or unknown format.
    Malformed,
    /// The configuration names something that does not exist, such as the bucket.
    Misconfigured,
    /// Any other cause, such as a failed local system call.
    Other,
}

impl Cause {
    /// Error code for a failure without an error of its own.
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

/// Current step of a call. The names are also the keys of `timings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waits for credentials.
    Credentials,
    /// Finds the generation of a key.
    Lookup,
    /// Downloads the archive.
    Download,
    /// Decompresses and parses the archive.
    Decode,
    /// Creates the stage and writes files.
    Write,
    /// Waits until the tree stops changing.
    Quiet,
    /// Reads and compresses the tree.
    Pack,
    /// Uploads the archive.
    Upload,
    /// Reads the uploaded archive back.
    Verify,
    /// Makes the result visible.
    Commit,
}

impl Stage {
    /// Name of the stage in JavaScript.
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

/// Failure of a call: the cause, the stage if it is known, and the error.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Cause that a caller can act on.
    pub cause: Cause,
    /// Stage in which the call failed.
    pub stage: Option<Stage>,
    /// Underlying error, used for the message and for `strict`. Never contains a secret.
    pub error: Error,
}

impl Failure {
    /// Creates a failure with a human-readable message.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            stage: None,
            error: Error::new(cause.code(), message),
        }
    }

    /// Creates a failure for damaged or unexpected data.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Cause::Corrupt, message)
    }

    /// Creates a failure for an archive that is refused.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Cause::Refused, message)
    }

    /// Creates a failure for an archive that exceeds a limit of the reader.
    pub fn over_limit(message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Refused,
            stage: None,
            error: Error::new(Code::TooLarge, message),
        }
    }

    /// Creates a failure for a tree that changed while it was being read.
    pub fn unstable(message: impl Into<String>) -> Self {
        Self::new(Cause::Unstable, message)
    }

    /// Extracts the failure from the error of a reader. An error that carries a [`Failure`] is unwrapped and a system
    /// error is kept. Any other error means damaged data, because decoders report damage without an errno.
    pub fn of_read(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Error::io("read", Path::new("the archive"), error).into();
        }
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::corrupt(format!("the archive is damaged: {error}")),
        }
    }

    /// Sets the stage unless it is already known.
    #[must_use]
    pub fn during(mut self, stage: Stage) -> Self {
        self.stage.get_or_insert(stage);
        self
    }
}

/// Needed because several callers can wait for the same operation.
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

/// Lets a source end a reader with its own failure. [`Failure::of_read`] extracts it again.
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
