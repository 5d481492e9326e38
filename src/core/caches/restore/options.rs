//! Options of a restore.

use std::path::PathBuf;

use crate::core::archives::commit::TargetMode;
use crate::core::archives::{Duplicates, Limits, Symlinks};
use crate::core::caches::key::Key;
use crate::core::caches::pointer::Producer;

/// Options of a restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Keys, tried in this order.
    pub keys: Vec<Key>,
    /// Target directory.
    pub into: PathBuf,
    /// How a target that already contains entries is treated.
    pub mode: TargetMode,
    /// Which symbolic links the archive may contain.
    pub symlinks: Symlinks,
    /// How a path that occurs twice in the archive is treated.
    pub duplicates: Duplicates,
    /// Expected producer. An empty field accepts every value.
    pub expect: Producer,
    /// Limits of the reader.
    pub limits: Limits,
    /// Number of parallel connections.
    pub concurrency: usize,
}
