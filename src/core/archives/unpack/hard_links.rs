//! Hard links of an archive. They are resolved with the archive's own entries, never with the disk.

use crate::core::archives::tree::Tree;
use crate::core::archives::unpack::names::Names;
use crate::core::failure::{Failure, Result};

/// Hard links of the archive: number of the entry, and number of the file that it refers to.
#[derive(Default)]
pub(super) struct HardLinks(Vec<(u32, u32)>);

impl HardLinks {
    pub(super) fn add(&mut self, index: u32, target: u32) {
        self.0.push((index, target));
    }

    /// Whether this entry is a hard link, which is not on disk before the end of the archive.
    pub(super) fn has(&self, index: u32) -> bool {
        self.0.binary_search_by_key(&index, |(own, _)| *own).is_ok()
    }

    /// Returns the hard links whose paths no later entry uses, in the order of the archive.
    pub(super) fn resolve(self, tree: &Tree, names: &Names) -> Result<Vec<(u32, u32)>> {
        let mut resolved = self.0;
        resolved.retain(|(index, _)| !names.is_replaced(*index));
        for (index, target) in &resolved {
            if names.is_replaced(*target) {
                // For GNU tar the link has the earlier bytes, for Python the later ones.
                return Err(Failure::refused(format!(
                    "the hard link '{}' refers to '{}', which a later entry of the archive replaces",
                    tree.path_at(*index).escape_ascii(),
                    tree.path_at(*target).escape_ascii()
                )));
            }
        }
        Ok(resolved)
    }
}

/// Failure for a hard link whose target is not an earlier file or link of the archive.
pub(super) fn no_target(path: &[u8], target: &[u8]) -> Failure {
    Failure::refused(format!(
        "the hard link '{}' refers to '{}', which is not an earlier file of this archive",
        path.escape_ascii(),
        target.escape_ascii()
    ))
}
