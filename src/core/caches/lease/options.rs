//! What is leased, and with how much patience.

use std::time::Duration;

use serde_json::Value;

use crate::core::caches::key::Key;
use crate::core::error::{Error, Result};

/// Most bytes of the metadata. The record has at most 16384.
const MAX_METADATA: usize = 4096;

/// What is leased, and with how much patience.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// The key that the record lies under.
    pub key: Key,
    /// How long the record may stay unchanged while its holder is alive.
    pub ttl: Duration,
    /// How long the call waits for other callers. None for no limit, zero for one attempt.
    pub timeout: Option<Duration>,
    /// Whether the failure of a run that the call waited for is its own failure.
    pub shares_failures: bool,
    /// What others see of the holder.
    pub metadata: Option<Value>,
}

impl LeaseOptions {
    /// Checks what no type holds.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` for a key that is one object, and for metadata that are too large.
    pub fn checked(self) -> Result<Self> {
        if self.key.single_object().is_some() {
            return Err(Error::argument(
                "path",
                format!("'{}'", self.key.as_str()),
                "a name without the ending .tar, .tgz, .tar.gz or .tar.zst, which make it one object",
            ));
        }
        let bytes = self.metadata.as_ref().map_or(0, |value| value.to_string().len());
        if bytes > MAX_METADATA {
            let expected = format!("at most {MAX_METADATA} bytes of JSON in a store");
            return Err(Error::argument(
                "options.metadata",
                format!("{bytes} bytes"),
                &expected,
            ));
        }
        Ok(self)
    }
}
