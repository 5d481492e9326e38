//! Options of an extraction.

use std::sync::Arc;

use crate::core::archives::{Limits, Progress};
use crate::core::failure::Failure;
use crate::core::sys::cancel::Cancel;

/// Options of an extraction.
#[derive(Debug, Clone, Default)]
pub struct ExtractOptions {
    /// Limits of the reader.
    pub limits: Limits,
    /// Which symbolic links the archive may contain.
    pub symlinks: Symlinks,
    /// How a path that occurs twice in the archive is treated.
    pub duplicates: Duplicates,
    /// Whether files are hashed, for the digest of [`crate::core::archives::ExtractSummary::tree`].
    pub hash: bool,
    /// Expected content of the tree, known from outside the stream.
    pub expected: Option<Expected>,
    /// Size of the archive, if it is known before it is read.
    pub compressed_bytes: Option<u64>,
    /// Size of the archive as its sender declared it (Content-Length, a pointer). Any other size is damage, and the
    /// archive then needs no end marker. The length of a local file is not a declaration.
    pub declared_bytes: Option<u64>,
    /// Raised to stop. No further file is begun.
    pub cancel: Cancel,
    /// Files and bytes so far.
    pub progress: Arc<Progress>,
}

/// Content of an archive according to a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Number of regular files, further hard links included.
    pub files: u64,
    /// Total bytes of the files.
    pub bytes: u64,
    /// Digest of the tree ([`crate::core::archives::tree::Tree::digest`]). Requires [`ExtractOptions::hash`].
    pub digest: Option<String>,
}

impl Expected {
    /// Failure for a tree with other totals.
    pub(super) fn missed(&self, files: u64, bytes: u64) -> Failure {
        Failure::corrupt(format!(
            "expected {} files with {} bytes, got {files} with {bytes}",
            self.files, self.bytes
        ))
    }
}

/// Which symbolic links an archive may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// Links that stay inside the tree, through whatever other links. Otherwise the archive is refused.
    #[default]
    Contained,
    /// All relative links, including those out of the tree: npm's workspaces link `node_modules/name` to
    /// `../packages/name`.
    Relative,
    /// All links with any text.
    Verbatim,
    /// No links. An archive that contains one is refused.
    Reject,
}

/// How a path that occurs twice in an archive is treated, as `tar -r` and `tar -u` write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// The last entry replaces the earlier one, never through a link. A directory is not replaced and replaces nothing.
    #[default]
    Replace,
    /// The archive is refused.
    Reject,
}
