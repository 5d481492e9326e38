//! Options for opening a store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which failures a publish survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A killed process. After power loss an older generation may be current, but never a torn one.
    Process,
    /// A killed process and power loss.
    Power,
}

/// Removes a bound of a store.
pub const NO_BOUND: u64 = u64::MAX;

/// Options for opening a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which failures a publish survives.
    pub durability: Durability,
    /// Number of previous generations to keep. Recorded in the store.
    pub keep: Option<u64>,
    /// Time that an unpinned generation is kept after it stopped being current, in milliseconds. Recorded in the store.
    pub grace_ms: Option<u64>,
    /// Most bytes of all generations; kept in the store. [`NO_BOUND`] removes the bound.
    pub max_bytes: Option<u64>,
    /// How long ago a generation may have stopped being current, milliseconds; kept in the store. [`NO_BOUND`] removes the
    /// bound.
    pub max_age_ms: Option<u64>,
    /// Path that becomes a link to a copy of the current generation.
    pub link: Option<PathBuf>,
    /// Whether a directory with files at the path of `link` may be replaced. Its content becomes a generation, and the
    /// directory itself is set aside.
    pub adopt: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Process,
            keep: None,
            grace_ms: None,
            max_bytes: None,
            max_age_ms: None,
            link: None,
            adopt: false,
        }
    }
}
