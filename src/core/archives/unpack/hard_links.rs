//! Further names of files: resolved over the archive's own entries, never by a look at the disk.

use crate::core::archives::tree::Tree;
use crate::core::archives::unpack::names::Names;
use crate::core::failure::{Failure, Result};

/// The hard links of the archive: the number of the entry, and that of the file that it names.
#[derive(Default)]
pub(super) struct HardLinks(Vec<(u32, u32)>);

impl HardLinks {
    pub(super) fn add(&mut self, index: u32, target: u32) {
        self.0.push((index, target));
    }

    /// Whether this entry is one of them, and so not on disk before the end of the archive.
    pub(super) fn has(&self, index: u32) -> bool {
        self.0.binary_search_by_key(&index, |(own, _)| *own).is_ok()
    }

    /// Those whose names no later entry has taken, in the archive's order.
    pub(super) fn resolve(self, tree: &Tree, names: &Names) -> Result<Vec<(u32, u32)>> {
        let mut resolved = self.0;
        resolved.retain(|(index, _)| !names.is_replaced(*index));
        for (index, target) in &resolved {
            if names.is_replaced(*target) {
                // The link is a name of the earlier bytes to GNU tar, and of the later ones to Python.
                return Err(Failure::refused(format!(
                    "the hard link '{}' names '{}', which a later entry of the archive replaces",
                    tree.path_at(*index).escape_ascii(),
                    tree.path_at(*target).escape_ascii()
                )));
            }
        }
        Ok(resolved)
    }
}

/// The failure of a link to what is no file or link of the archive before it.
pub(super) fn no_target(path: &[u8], target: &[u8]) -> Failure {
    Failure::refused(format!(
        "the hard link '{}' names '{}', which is no file of this archive before it",
        path.escape_ascii(),
        target.escape_ascii()
    ))
}
