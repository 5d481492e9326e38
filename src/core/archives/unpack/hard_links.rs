//! Further names of files: resolved over the archive's own entries once all are known, never by a look at the disk.

use crate::core::archives::tree::{NodeKind, Tree};
use crate::core::archives::unpack::texts::{Text, Texts};
use crate::core::failure::{Failure, Result};

/// The hard links of the archive: the number of the entry, and the path that it names.
#[derive(Default)]
pub(super) struct HardLinks {
    all: Vec<(u32, Text)>,
    targets: Texts,
}

impl HardLinks {
    pub(super) fn add(&mut self, index: u32, target: &[u8]) -> Result<()> {
        self.all.push((index, self.targets.add(target)?));
        Ok(())
    }

    /// The entry of each link and of the file that it names, in the archive's order. Only a file that stands
    /// before the link can be named.
    pub(super) fn resolve(self, tree: &Tree) -> Result<impl Iterator<Item = (u32, u32)> + use<>> {
        let by_path = if self.all.is_empty() {
            Vec::new()
        } else {
            tree.sorted_by(<[u8]>::cmp)
        };
        let mut resolved = Vec::with_capacity(self.all.len());
        for (index, target) in self.all {
            let target = self.targets.get(target);
            let named = by_path
                .binary_search_by(|at| tree.path_at(*at).cmp(target))
                .ok()
                .map(|at| by_path[at])
                .filter(|named| *named < index && tree.nodes()[*named as usize].kind() == NodeKind::File);
            let Some(named) = named else {
                return Err(Failure::refused(format!(
                    "the hard link '{}' names '{}', which is no file of this archive before it",
                    tree.path_at(index).escape_ascii(),
                    target.escape_ascii()
                )));
            };
            resolved.push((index, named));
        }
        Ok(resolved.into_iter())
    }
}
