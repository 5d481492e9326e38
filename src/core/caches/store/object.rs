//! Objects of a store: what is known of one, what is written, and when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::spool::Spool;
use crate::core::sys::clock;

/// A snapshot that finds its blob there writes it again unless it is younger than this, so that a prune finds it young
/// too.
const YOUNG: Duration = Duration::from_mins(1);

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its path below the store's prefix.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Names this version of its bytes; empty where a listing does not say.
    pub etag: String,
    /// When it was written, milliseconds since the epoch.
    pub modified_ms: u64,
}

impl ObjectMeta {
    /// Whether it was written so long ago.
    pub fn is_older(&self, than: Duration) -> bool {
        let age = clock::wall_millis().saturating_sub(self.modified_ms);
        u128::from(age) >= than.as_millis()
    }

    /// Whether a prune leaves it alone because of its age, so that a snapshot may still point to it.
    pub fn is_young(&self) -> bool {
        !self.is_older(YOUNG)
    }
}

/// When a write may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there is replaced.
    Always,
    /// Only if nothing has this path.
    Absent,
    /// Only if the object still is this version.
    Version(String),
}

/// What is written: small bytes, or a file that was packed before.
#[derive(Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A local file of known size, read in parts; the open file, because its name may be gone already.
    Spool(Arc<Spool>),
}

/// A moment as RFC 3339.
pub fn rfc3339(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    opendal::raw::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| String::new(), |time| time.to_string())
}
