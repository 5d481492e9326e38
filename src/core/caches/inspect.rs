//! Facts of a key's current generation.

use super::cache::{Cache, KeyTarget};
use super::key::Key;
use super::outcome::RestoreOutcome;
use super::pointer::Producer;
use super::report::Report;
use super::run::Budget;
use super::store::rfc3339;
use crate::core::failure::{Cause, Failure};
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
    /// Trust level that holds it, in a cache with trust levels.
    pub level: Option<String>,
}

impl Cache {
    /// Returns the facts of a key's current generation. With trust levels, that of the first level with a usable one.
    pub async fn inspect(&self, key: Key, budget: Budget, cancel: Cancel) -> Report<Option<Info>> {
        self.call(budget, cancel, None, move |cache, _, context| async move {
            let mut first: Option<Failure> = None;
            for place in cache.places() {
                let Some(store) = &place.store else { continue };
                match place.look_up(&**store, &key, &context).await {
                    Ok(found) => return Report::new(RestoreOutcome::Restored, Some(info(found, &place))),
                    // A missing key of one level does not hide why that of another level is not usable.
                    Err(failure) if first.as_ref().is_none_or(|first| first.cause == Cause::NotFound) => {
                        first = Some(failure);
                    }
                    Err(_) => {}
                }
            }
            match first {
                Some(failure) => Report::failed(failure, None),
                None => Report::new(RestoreOutcome::Disabled, None),
            }
        })
        .await
    }
}

fn info(found: KeyTarget, place: &Cache) -> Info {
    match found {
        KeyTarget::Pointer(pointer, _) => Info {
            generation: pointer.generation,
            files: pointer.files,
            bytes: pointer.bytes,
            compressed_bytes: pointer.size,
            created: pointer.created,
            producer: pointer.producer,
            level: place.level_name(),
        },
        KeyTarget::Object(object) => Info {
            generation: object.etag.trim_matches('"').to_owned(),
            files: 0,
            bytes: 0,
            compressed_bytes: object.size,
            created: rfc3339(object.modified_ms),
            producer: Producer::default(),
            level: place.level_name(),
        },
    }
}
