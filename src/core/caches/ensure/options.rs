//! What is ensured, where, and with how much patience.

use std::time::Duration;

use crate::core::caches::key::Key;
use crate::core::caches::restore::RestoreOptions;
use crate::core::caches::run::Budget;
use crate::core::error::{Error, Result};

/// What is ensured, where, and with how much patience.
#[derive(Debug, Clone)]
pub struct EnsureOptions {
    /// The key. Records and blobs lie under it.
    pub key: Key,
    /// Identifies the inputs of the build.
    pub fingerprint: String,
    /// The target, and what a restore accepts. Its keys are not used.
    pub restore: RestoreOptions,
    /// Compression level; the format's own default if absent.
    pub level: Option<i32>,
    /// How long the record may stay unchanged while the builder is alive.
    pub ttl: Duration,
    /// How long the call coordinates with others; then it builds alone. None for no limit.
    pub deadline: Option<Duration>,
    /// Whether the failure of a build that the call waited for is its own failure.
    pub shares_failures: bool,
    /// Time and patience of the restore.
    pub restore_budget: Budget,
    /// Time and patience of the upload.
    pub upload_budget: Budget,
}

impl EnsureOptions {
    /// Checks what no type holds.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` for a key that is one object: it has no place for a record.
    pub fn checked(self) -> Result<Self> {
        if self.key.single_object().is_some() {
            return Err(Error::argument(
                "key",
                format!("'{}'", self.key.as_str()),
                "a key without the ending .tar, .tgz, .tar.gz or .tar.zst, which make it one object",
            ));
        }
        Ok(self)
    }
}
