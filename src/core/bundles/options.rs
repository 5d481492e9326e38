//! How a store is opened.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a publish survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// `kill -9`, and after power loss an older generation comes back rather than a torn one.
    Process,
    /// Power loss too.
    Power,
}

/// Removes a bound of a store.
pub const NO_BOUND: u64 = u64::MAX;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// What a publish survives.
    pub durability: Durability,
    /// Generations that stay beside the current one; kept in the store.
    pub keep: Option<u64>,
    /// How long an unpinned generation stays after it stopped being current, milliseconds; kept in the store.
    pub grace_ms: Option<u64>,
    /// Most bytes of all generations; kept in the store. [`NO_BOUND`] removes the bound.
    pub max_bytes: Option<u64>,
    /// How long ago a generation may have stopped being current, milliseconds; kept in the store. [`NO_BOUND`] removes the
    /// bound.
    pub max_age_ms: Option<u64>,
    /// A path that becomes a link to a copy of the current generation.
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
