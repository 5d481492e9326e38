//! Head of a generation: its facts, stored in its lock file `pins/N` so that one read returns them.

use serde::{Deserialize, Serialize};

use crate::core::error::{Optional, Result};
use crate::core::sys::fs;

use super::errors::{corrupt, generation_gone};
use super::layout::{Layout, MAX_NUMBER};
use super::options::Durability;

/// Maximum size of a head. `meta` is for facts, not for payloads.
pub(super) const MAX_HEAD_BYTES: u64 = 1 << 20;

/// Latest time that JavaScript's `Date` can represent, in milliseconds since the epoch.
pub(super) const MAX_TIME: u64 = 8_640_000_000_000_000;

/// Facts of a generation that are known without reading its tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Number of the generation. Grows with each publish and is never reused.
    pub number: u64,
    /// BLAKE3 over paths, types, modes, link targets and bytes, in hexadecimal.
    pub digest: String,
    /// Number of regular files and links.
    pub files: u64,
    /// Total bytes of the regular files.
    pub bytes: u64,
    /// Time of the publish, in milliseconds since the epoch.
    pub published_at: u64,
    /// Time at which the stage was created, in microseconds of the monotonic clock of `boot`.
    pub started_at: u64,
    /// Boot in which the generation was written. Power loss may have torn a generation of an earlier boot.
    pub boot: Option<String>,
    /// Durability with which it was published.
    pub durability: Durability,
    /// Fence of its stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// Identifies the inputs of the build. Set by the builder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The builder's own data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<serde_json::Value>,
}

impl Head {
    /// Reads the head of a generation. Fails with `ERR_GENERATION_GONE` if it was collected.
    pub fn read(layout: &Layout, number: u64) -> Result<Self> {
        let path = layout.pin(number);
        let Some(bytes) = fs::read_capped(&path, MAX_HEAD_BYTES).optional()? else {
            return Err(generation_gone(number));
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(head) if head.number == number && head.is_plausible() => Ok(head),
            _ => Err(corrupt(number, "its head cannot be read").at(&path)),
        }
    }

    fn is_plausible(&self) -> bool {
        self.fence.is_none_or(|fence| fence <= MAX_NUMBER) && self.published_at <= MAX_TIME
    }
}
