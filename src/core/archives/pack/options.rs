//! How to pack.

use std::sync::Arc;

use crate::core::archives::Progress;
use crate::core::archives::codec::{self, Format};
use crate::core::archives::exclude::Excludes;
use crate::core::sys::cancel::Cancel;

/// How to pack.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// How the archive is compressed.
    pub format: Format,
    /// The codec's level; see [`codec::check_level`].
    pub level: i32,
    /// What is left out.
    pub excludes: Excludes,
    /// Most files of the tree; one with more is not begun.
    pub max_files: u64,
    /// Most bytes of its files.
    pub max_bytes: u64,
    /// Whether files are hashed, for the digest of [`crate::core::archives::WriteSummary::tree`].
    pub hash: bool,
    /// Raised to stop.
    pub cancel: Cancel,
    /// Counted while it happens.
    pub progress: Arc<Progress>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            format: Format::TarZst,
            level: codec::DEFAULT_LEVEL,
            excludes: Excludes::default(),
            max_files: u64::MAX,
            max_bytes: u64::MAX,
            hash: true,
            cancel: Cancel::new(),
            progress: Arc::default(),
        }
    }
}
