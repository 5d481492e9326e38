//! How to extract.

use std::sync::Arc;

use crate::core::archives::{Limits, Progress};
use crate::core::failure::Failure;
use crate::core::sys::cancel::Cancel;

/// How to extract.
#[derive(Debug, Clone, Default)]
pub struct ExtractOptions {
    /// What is accepted at most.
    pub limits: Limits,
    /// Which symbolic links are made.
    pub symlinks: Symlinks,
    /// What happens to a path that the archive has twice.
    pub duplicates: Duplicates,
    /// Whether files are hashed, for [`crate::core::archives::ExtractSummary::tree`]'s digest.
    pub hash: bool,
    /// What the tree must turn out to be, known from outside the stream.
    pub expected: Option<Expected>,
    /// Size of the archive, if it is known before it is read.
    pub compressed_bytes: Option<u64>,
    /// Size of the archive as its sender declared it (Content-Length, a pointer): another one is damage, and the archive
    /// needs no end marker. A file's own length is no declaration.
    pub declared_bytes: Option<u64>,
    /// Raised to stop: no further file is begun.
    pub cancel: Cancel,
    /// Counted while it happens.
    pub progress: Arc<Progress>,
}

/// What a pointer promised of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Regular files, further hard links included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// [`crate::core::archives::tree::Tree::digest`]; needs [`ExtractOptions::hash`].
    pub digest: Option<String>,
}

impl Expected {
    /// The failure of a tree that has other totals.
    pub(super) fn missed(&self, files: u64, bytes: u64) -> Failure {
        Failure::corrupt(format!(
            "expected {} files with {} bytes, got {files} with {bytes}",
            self.files, self.bytes
        ))
    }
}

/// Which symbolic links are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// Those that stay inside the tree, through whatever other links; else the archive is refused.
    #[default]
    Contained,
    /// All that are relative, also out of the tree: npm's workspaces link `node_modules/name` to `../packages/name`.
    Relative,
    /// All, whatever they say.
    Verbatim,
    /// None: an archive that has one is refused.
    Reject,
}

/// What happens to a path that the archive has twice, as `tar -r` and `tar -u` write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// The last entry replaces the earlier one, never through a link. A directory is not replaced, and replaces nothing.
    #[default]
    Replace,
    /// The archive is refused.
    Reject,
}
