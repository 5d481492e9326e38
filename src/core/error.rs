//! What can go wrong, as a closed table of codes; each error says what was being done, to which path,
//! and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result of every core call.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, retryable: $retryable:literal;)+) => {
        /// The closed table of error codes. Codes are added, never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// All codes, in the order of the README's table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name that JavaScript sees as `error.code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether the same call can succeed later without anybody changing the program.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)+ }
            }
        }
    };
}

codes! {
    /// A programming error: the message names the argument, the value and what is accepted.
    InvalidArgument = "ERR_INVALID_ARGUMENT", retryable: false;
    /// This filesystem or platform cannot give the guarantee; the message says which and the way out.
    Unsupported = "ERR_UNSUPPORTED", retryable: false;
    /// A system call failed; syscall, path and errno are in the source.
    Io = "ERR_IO", retryable: false;
    /// The caller cancelled.
    Aborted = "ERR_ABORTED", retryable: true;
    /// The deadline passed.
    Timeout = "ERR_TIMEOUT", retryable: true;
    /// Nothing has been published yet.
    NoGeneration = "ERR_NO_GENERATION", retryable: true;
    /// The generation asked for was collected.
    GenerationGone = "ERR_GENERATION_GONE", retryable: false;
    /// Manifest and bytes disagree.
    GenerationCorrupt = "ERR_GENERATION_CORRUPT", retryable: false;
    /// Publishing nothing is refused.
    EmptyStage = "ERR_EMPTY_STAGE", retryable: false;
    /// A file named in `require` is not in the stage.
    MissingEntry = "ERR_MISSING_ENTRY", retryable: false;
    /// The stage was published or discarded.
    StageClosed = "ERR_STAGE_CLOSED", retryable: false;
    /// A newer epoch exists; this result is too late.
    Fenced = "ERR_FENCED", retryable: false;
    /// The lock was not free in time.
    LockTimeout = "ERR_LOCK_TIMEOUT", retryable: true;
    /// The lock is no longer this holder's.
    LockLost = "ERR_LOCK_LOST", retryable: false;
    /// An on-disk format of an unknown major version.
    Format = "ERR_FORMAT", retryable: false;
    /// The object was closed.
    Closed = "ERR_CLOSED", retryable: false;
    /// The job ran and its result is still not there.
    NotReady = "ERR_NOT_READY", retryable: false;
    /// A call from inside itself.
    Reentrant = "ERR_REENTRANT", retryable: false;
    /// The value is over its limit.
    TooLarge = "ERR_TOO_LARGE", retryable: false;
    /// The worker ended before it answered.
    WorkerExited = "ERR_WORKER_EXITED", retryable: true;
    /// More requests wait than the queue takes.
    QueueFull = "ERR_QUEUE_FULL", retryable: true;
    /// An entry that the call needs belongs to another user, in a directory that everybody may write to.
    Untrusted = "ERR_UNTRUSTED", retryable: false;
    /// Files changed while they were read.
    Unstable = "ERR_UNSTABLE", retryable: true;
}

/// One failure of the core.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    /// Row of the table.
    pub code: Code,
    /// What a person reads: what was tried, what is wrong, the way out.
    pub message: String,
    /// The system call or step, such as `rename`.
    pub op: Option<&'static str>,
    /// The path it was about.
    pub path: Option<PathBuf>,
    /// Facts for the caller as JSON, such as the holder of a lock.
    pub detail: Option<Box<serde_json::Value>>,
    /// The operating system's own error.
    #[source]
    pub source: Option<io::Error>,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error {
    /// An error of this code with a message for people.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            op: None,
            path: None,
            detail: None,
            source: None,
        }
    }

    /// A wrong argument: which one, what it was, what is accepted.
    pub fn argument(name: &str, value: impl fmt::Display, accepted: &str) -> Self {
        Self::new(
            Code::InvalidArgument,
            format!("{name} is {value}; accepted is {accepted}"),
        )
    }

    /// A failed system call. `path` is empty for a call that is about no path, such as `eventfd`.
    pub fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        let path = (!path.as_os_str().is_empty()).then(|| path.to_path_buf());
        Self {
            code: Code::Io,
            message: match &path {
                Some(path) => format!("{op} '{}': {source}", path.display()),
                None => format!("{op}: {source}"),
            },
            op: Some(op),
            path,
            detail: None,
            source: Some(source),
        }
    }

    /// The same failure for another caller who waited for the same thing.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            op: self.op,
            path: self.path.clone(),
            detail: self.detail.clone(),
            source: self.errno().map(io::Error::from_raw_os_error),
            ..Self::new(self.code, self.message.clone())
        }
    }

    /// Adds the path it was about.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_path_buf());
        self
    }

    /// Adds facts for the caller.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// The kind of the operating system's error, if there is one.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        self.source.as_ref().map(io::Error::kind)
    }

    /// The errno of the operating system's error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// Whether the thing is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether the thing is there already.
    pub fn is_exists(&self) -> bool {
        self.kind() == Some(io::ErrorKind::AlreadyExists)
    }

    /// Whether this user may not do it.
    pub fn is_denied(&self) -> bool {
        self.kind() == Some(io::ErrorKind::PermissionDenied)
    }

    /// Whether the disk, or this user's part of it, is full.
    pub fn is_full(&self) -> bool {
        matches!(
            self.kind(),
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        )
    }

    /// Whether a rename would have to copy to another filesystem.
    pub fn crosses_devices(&self) -> bool {
        self.kind() == Some(io::ErrorKind::CrossesDevices)
    }
}

/// Adds operation and path to an [`io::Result`].
pub trait At<T> {
    /// Names the operation and the path.
    fn at(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::io(op, path, error.into()))
    }
}

/// Reads an expected absence as `None`.
pub trait Optional<T> {
    /// `Ok(None)` where the thing is not there.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> Optional<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_call_without_a_path_names_none() {
        let failed = |path: &str| Error::io("eventfd", Path::new(path), io::Error::from_raw_os_error(24));
        assert_eq!(
            failed("").to_string(),
            "eventfd: Too many open files (os error 24)"
        );
        assert_eq!(failed("").path, None);
        assert_eq!(
            failed("/a").to_string(),
            "eventfd '/a': Too many open files (os error 24)"
        );
    }
}
