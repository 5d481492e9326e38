//! Errors of the core. Each error has a code from a closed table and a message that names the failed operation, the
//! path and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result of a core call.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, retryable: $retryable:literal;)+) => {
        /// The closed table of error codes. Codes are added, never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// All codes, in the order of the documented error table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Name of the code in JavaScript (`error.code`).
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether the same call can succeed later without a change to the program.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)+ }
            }
        }
    };
}

codes! {
    /// An argument is invalid. The message names the argument, its value and the expected form.
    InvalidArgument = "ERR_INVALID_ARGUMENT", retryable: false;
    /// The filesystem or platform cannot give the guarantee. The message names it and an alternative.
    Unsupported = "ERR_UNSUPPORTED", retryable: false;
    /// A system call failed. The error carries the call, the path and the errno.
    Io = "ERR_IO", retryable: false;
    /// The caller cancelled the call.
    Aborted = "ERR_ABORTED", retryable: true;
    /// The timeout or deadline passed.
    Timeout = "ERR_TIMEOUT", retryable: true;
    /// Nothing has been published yet.
    NoGeneration = "ERR_NO_GENERATION", retryable: true;
    /// The requested generation was removed by a collection.
    GenerationGone = "ERR_GENERATION_GONE", retryable: false;
    /// The content of a generation does not match its manifest.
    GenerationCorrupt = "ERR_GENERATION_CORRUPT", retryable: false;
    /// The stage contains no files. An empty generation is never published.
    EmptyStage = "ERR_EMPTY_STAGE", retryable: false;
    /// A file named in `require` is not in the stage.
    MissingEntry = "ERR_MISSING_ENTRY", retryable: false;
    /// The stage was already published or discarded.
    StageClosed = "ERR_STAGE_CLOSED", retryable: false;
    /// A newer generation or fence exists, so this result must not be published.
    Fenced = "ERR_FENCED", retryable: false;
    /// The lock did not become free before the timeout.
    LockTimeout = "ERR_LOCK_TIMEOUT", retryable: true;
    /// This process no longer holds the lock.
    LockLost = "ERR_LOCK_LOST", retryable: false;
    /// The on-disk format has an unknown major version.
    Format = "ERR_FORMAT", retryable: false;
    /// The object was already closed.
    Closed = "ERR_CLOSED", retryable: false;
    /// The job finished, but its result is still missing.
    NotReady = "ERR_NOT_READY", retryable: false;
    /// The call was made from inside itself.
    Reentrant = "ERR_REENTRANT", retryable: false;
    /// The value exceeds its limit.
    TooLarge = "ERR_TOO_LARGE", retryable: false;
    /// The worker exited before it responded.
    WorkerExited = "ERR_WORKER_EXITED", retryable: true;
    /// The request queue is full.
    QueueFull = "ERR_QUEUE_FULL", retryable: true;
    /// A required entry belongs to another user, in a directory that other users can write to.
    Untrusted = "ERR_UNTRUSTED", retryable: false;
    /// Files changed while they were being read.
    Unstable = "ERR_UNSTABLE", retryable: true;
}

/// An error of the core.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    /// Code from the error table.
    pub code: Code,
    /// Human-readable message: what failed, on which path or value, and what to do.
    pub message: String,
    /// System call or step that failed, such as `rename`.
    pub op: Option<&'static str>,
    /// Path that the operation used.
    pub path: Option<PathBuf>,
    /// Additional facts for the caller as JSON, such as the holder of a lock.
    pub detail: Option<Box<serde_json::Value>>,
    /// Error of the operating system.
    #[source]
    pub source: Option<io::Error>,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error {
    /// Creates an error with a code and a human-readable message.
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

    /// Creates an `ERR_INVALID_ARGUMENT` error. `expected` describes valid values.
    pub fn argument(name: &str, value: impl fmt::Display, expected: &str) -> Self {
        Self::new(
            Code::InvalidArgument,
            format!("Invalid {name}: {value}. Expected {expected}"),
        )
    }

    /// Creates an `ERR_IO` error for a failed system call. `path` is empty if the call has no path, such as `eventfd`.
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

    /// Copies the error for another caller that waited for the same operation.
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

    /// Sets the path of the error.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_path_buf());
        self
    }

    /// Sets the additional facts for the caller.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// Kind of the operating system's error, if there is one.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        self.source.as_ref().map(io::Error::kind)
    }

    /// Errno of the operating system's error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// Whether the entry does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether the entry already exists.
    pub fn is_exists(&self) -> bool {
        self.kind() == Some(io::ErrorKind::AlreadyExists)
    }

    /// Whether the permission is missing.
    pub fn is_denied(&self) -> bool {
        self.kind() == Some(io::ErrorKind::PermissionDenied)
    }

    /// Whether the disk or the user's quota is full.
    pub fn is_full(&self) -> bool {
        matches!(
            self.kind(),
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        )
    }

    /// Whether source and target of a rename are on different filesystems.
    pub fn crosses_devices(&self) -> bool {
        self.kind() == Some(io::ErrorKind::CrossesDevices)
    }
}

/// Converts an [`io::Result`] to a core result with operation and path.
pub trait At<T> {
    /// Adds the operation and the path to the error.
    fn at(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::io(op, path, error.into()))
    }
}

/// Converts an expected absence to `None`.
pub trait Optional<T> {
    /// Returns `Ok(None)` if the entry does not exist.
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
    fn a_system_call_error_without_a_path_names_no_path() {
        let system = || io::Error::from_raw_os_error(24);
        let failed = |path: &str| Error::io("eventfd", Path::new(path), system());
        assert_eq!(failed("").to_string(), format!("eventfd: {}", system()));
        assert_eq!(failed("").path, None);
        assert_eq!(failed("/a").to_string(), format!("eventfd '/a': {}", system()));
    }
}
