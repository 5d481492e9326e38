//! Options of packing.

use std::sync::Arc;

use crate::core::archives::Progress;
use crate::core::archives::codec::{self, Format};
use crate::core::archives::exclude::Excludes;
use crate::core::sys::cancel::Cancel;

/// Options of packing.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Archive format.
    pub format: Format,
    /// Compression level. See [`codec::check_level`].
    pub level: i32,
    /// Excluded entries.
    pub excludes: Excludes,
    /// Maximum number of files. A larger tree fails before anything is written.
    pub max_files: u64,
    /// Maximum total bytes of the files.
    pub max_bytes: u64,
    /// Whether files are hashed, for the digest of [`crate::core::archives::WriteSummary::tree`].
    pub hash: bool,
    /// Raised to stop the call.
    pub cancel: Cancel,
    /// Files and bytes so far.
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
