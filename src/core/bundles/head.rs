//! The small facts of a generation, kept in its lock file `pins/N` so that one read answers for them.

use serde::{Deserialize, Serialize};

use crate::core::error::{Optional, Result};
use crate::core::sys::fs;

use super::errors::{corrupt, generation_gone};
use super::layout::{Layout, MAX_NUMBER};
use super::options::Durability;

/// Upper bound of a head: `meta` is for facts, not for payloads.
pub(super) const MAX_HEAD_BYTES: u64 = 1 << 20;

/// Last moment that JavaScript's `Date` can hold, milliseconds since the epoch.
pub(super) const MAX_TIME: u64 = 8_640_000_000_000_000;

/// What is known of a generation without looking into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its number: grows with each publish, never used twice.
    pub number: u64,
    /// BLAKE3 over paths, types, modes, link targets and bytes, in hexadecimal.
    pub digest: String,
    /// Regular files and links in it.
    pub files: u64,
    /// Bytes of its regular files.
    pub bytes: u64,
    /// When it was published, milliseconds since the epoch.
    pub published_at: u64,
    /// When its stage was made, microseconds of the monotonic clock of `boot`.
    pub started_at: u64,
    /// The boot in which it was written; what an earlier boot wrote may be torn by power loss.
    pub boot: Option<String>,
    /// What its publish promised.
    pub durability: Durability,
    /// The fence of its stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// What it was made from, as its builder says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The builder's own JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<serde_json::Value>,
}

impl Head {
    /// Reads the head of a generation; `ERR_GENERATION_GONE` once it was collected.
    pub fn read(layout: &Layout, number: u64) -> Result<Self> {
        let path = layout.pin(number);
        let Some(bytes) = fs::read_capped(&path, MAX_HEAD_BYTES).optional()? else {
            return Err(generation_gone(number));
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(head) if head.number == number && head.is_plausible() => Ok(head),
            _ => Err(corrupt(number, "its head is not readable").at(&path)),
        }
    }

    fn is_plausible(&self) -> bool {
        self.fence.is_none_or(|fence| fence <= MAX_NUMBER) && self.published_at <= MAX_TIME
    }
}
