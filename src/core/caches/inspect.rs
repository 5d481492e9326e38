//! Facts of a key's current generation.

use super::cache::{Cache, KeyTarget};
use super::key::Key;
use super::outcome::RestoreOutcome;
use super::pointer::Producer;
use super::report::Report;
use super::run::Budget;
use crate::core::sys::cancel::Cancel;

/// Facts of a key's current generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Name of the generation. For a key that is a single object, the version of the object.
    pub generation: String,
    /// Number of files. 0 if the key is a single object.
    pub files: u64,
    /// Total bytes of the files. 0 if the key is a single object.
    pub bytes: u64,
    /// Bytes of the archive in the store.
    pub compressed_bytes: u64,
    /// Time of the snapshot (RFC 3339).
    pub created: String,
    /// Creator of the generation.
    pub producer: Producer,
}

impl Cache {
    /// Returns the facts of a key's current generation.
    pub async fn inspect(&self, key: Key, budget: Budget, cancel: Cancel) -> Report<Option<Info>> {
        self.call(budget, cancel, None, move |cache, store, context| async move {
            match cache.look_up(&*store, &key, &context).await {
                Ok(KeyTarget::Pointer(pointer, _)) => Report::new(
                    RestoreOutcome::Restored,
                    Some(Info {
                        generation: pointer.generation,
                        files: pointer.files,
                        bytes: pointer.bytes,
                        compressed_bytes: pointer.size,
                        created: pointer.created,
                        producer: pointer.producer,
                    }),
                ),
                Ok(KeyTarget::Object(object)) => Report::new(
                    RestoreOutcome::Restored,
                    Some(Info {
                        generation: object.etag.trim_matches('"').to_owned(),
                        files: 0,
                        bytes: 0,
                        compressed_bytes: object.size,
                        created: super::store::rfc3339(object.modified_ms),
                        producer: Producer::default(),
                    }),
                ),
                Err(failure) => Report::failed(failure, None),
            }
        })
        .await
    }
}
