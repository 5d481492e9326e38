//! Facts that were found by reading the files of a tree.

use crate::core::archives::pack::source::ReadFile;
use crate::core::archives::tree::{Hash, Tree};

/// Facts that were found by reading the files of a tree. Nearly all files are as the walk saw them, so only their
/// hashes are new.
pub(super) struct ScanResult {
    hashes: Vec<Hash>,
    others: Vec<Update>,
}

impl ScanResult {
    /// `hashes` has one element for each entry.
    pub(super) fn new(hashes: Vec<Hash>) -> Self {
        Self {
            hashes,
            others: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, tree: &Tree, update: Update) {
        let index = update.index as usize;
        let Some(read) = &update.read else {
            self.others.push(update);
            return;
        };
        self.hashes[index] = read.hash;
        let node = tree.nodes()[index];
        if (node.size, node.mode(), tree.facts(index)) != (read.size, read.mode, read.facts) {
            self.others.push(update);
        }
    }

    /// Updates the tree. Returns for each entry whether it has been removed in the meantime.
    pub(super) fn apply(self, tree: &mut Tree) -> Vec<bool> {
        tree.put_hashes(self.hashes);
        let mut gone = vec![false; tree.len()];
        for Update { index, read } in self.others {
            let index = index as usize;
            match read {
                Some(read) => {
                    tree.set(index, u32::from(read.mode), read.size);
                    tree.set_facts(index, read.facts);
                }
                None => gone[index] = true,
            }
        }
        gone
    }
}

/// Facts that were found by reading one file.
pub(super) struct Update {
    pub(super) index: u32,
    /// `None` if the file was removed in the meantime.
    pub(super) read: Option<ReadFile>,
}
