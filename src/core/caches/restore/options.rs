//! What to restore and where.

use std::path::PathBuf;

use crate::core::archives::commit::TargetMode;
use crate::core::archives::{Duplicates, Limits, Symlinks};
use crate::core::caches::key::Key;
use crate::core::caches::pointer::Producer;

/// What to restore and where.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Tried in turn.
    pub keys: Vec<Key>,
    /// The target.
    pub into: PathBuf,
    /// What may be there.
    pub mode: TargetMode,
    /// Which links are made.
    pub symlinks: Symlinks,
    /// What happens to a path that the archive has twice.
    pub duplicates: Duplicates,
    /// What the producer must have been; empty fields accept everything.
    pub expect: Producer,
    /// What is accepted at most.
    pub limits: Limits,
    /// Connections at once.
    pub concurrency: usize,
}
