//! Objects of a store: their metadata, their content and write conditions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::spool::Spool;
use crate::core::sys::clock;

/// Age below which a prune keeps a blob. A snapshot that finds its blob in the store writes it again unless it is
/// younger than this, so that a prune also sees it as young.
const YOUNG: Duration = Duration::from_mins(1);

/// Metadata of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Path below the store's prefix.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Version of the content. Empty if a listing does not report it.
    pub etag: String,
    /// Time of the write, in milliseconds since the epoch.
    pub modified_ms: u64,
}

impl ObjectMeta {
    /// Whether it was written longer ago than `than`.
    pub fn is_older(&self, than: Duration) -> bool {
        let age = clock::wall_millis().saturating_sub(self.modified_ms);
        u128::from(age) >= than.as_millis()
    }

    /// Whether a prune keeps it because of its age, since a snapshot may be about to point to it.
    pub fn is_young(&self) -> bool {
        !self.is_older(YOUNG)
    }
}

/// Condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Replaces any existing object.
    Always,
    /// Only if no object has this path.
    Absent,
    /// Only if the object still has this version.
    Version(String),
}

/// Content of a write: bytes in memory, or a packed file.
#[derive(Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// An open local file of known size, read in parts. It may have no name.
    Spool(Arc<Spool>),
}

/// Formats a time as RFC 3339.
pub fn rfc3339(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    opendal::raw::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| String::new(), |time| time.to_string())
}
