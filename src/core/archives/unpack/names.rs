//! Paths that an archive has used so far. It may repeat one, as `tar -r` and `tar -u` do: the last entry counts.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::core::archives::tree::Tree;

/// Entries of an archive by path, without directories. Needs about 8 bytes for each, in addition to the tree.
#[derive(Default)]
pub(super) struct Names {
    table: HashTable<u32>,
    hashes: RandomState,
    replaced: HashSet<u32>,
}

impl Names {
    /// Number of the current entry with this path.
    pub(super) fn find(&self, tree: &Tree, path: &[u8]) -> Option<u32> {
        let hash = self.hashes.hash_one(path);
        self.table
            .find(hash, |index| tree.path_at(*index) == path)
            .copied()
    }

    /// Adds the entry with this number, which the tree already contains. Replaces an earlier one with the same path.
    pub(super) fn add(&mut self, tree: &Tree, index: u32) {
        let path = tree.path_at(index);
        let hash = self.hashes.hash_one(path);
        if let Some(known) = self.table.find_mut(hash, |known| tree.path_at(*known) == path) {
            self.replaced.insert(std::mem::replace(known, index));
            return;
        }
        let hashes = &self.hashes;
        self.table
            .insert_unique(hash, index, |index| hashes.hash_one(tree.path_at(*index)));
    }

    /// Whether a later entry has the same path.
    pub(super) fn is_replaced(&self, index: u32) -> bool {
        self.replaced.contains(&index)
    }

    /// Whether any path occurred twice.
    pub(super) fn has_replaced(&self) -> bool {
        !self.replaced.is_empty()
    }
}
