//! Writes the tree manifest of a target that was just restored.

use std::path::Path;
use std::time::Duration;

use super::place::Place;
use super::record::{Record, TICK_NS};
use super::writer::ManifestWriter;
use crate::core::archives::exclude::Excludes;
use crate::core::archives::shared_directory::follow;
use crate::core::archives::tree::{Facts, NodeKind, Tree, walk_order};
use crate::core::archives::{self, Visitor};
use crate::core::failure;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::clock;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::Stat;

/// Writes the tree manifest of a restored target, with one stat for each entry of `tree`, which has the hashes. The
/// call has already returned, so its caller may be editing files. Only files that provably did not change since
/// `committed_ns`, a time before the commit, keep their hash, and the others are read again. An entry that was changed
/// or removed gets facts that match no entry, so that it counts as changed.
pub fn write_restored(
    target: &Path,
    generation: &str,
    tree: &Tree,
    committed_ns: i64,
    cancel: &Cancel,
) -> failure::Result<()> {
    // Written after a pause, so that the last restored files do not count as possibly changed.
    let pause = Duration::from_nanos(TICK_NS.unsigned_abs());
    cancel.sleep(pause, Deadline::NEVER);
    let target = &*follow(target)?;
    let mut writing = RestoredManifest {
        tree,
        order: tree.sorted_by(walk_order).into_iter().peekable(),
        reader: archives::EntryHasher::new(Directory::open(target)?),
        settled_before_ns: committed_ns - TICK_NS,
        writer: ManifestWriter::begin(Place::of(target)?, generation, clock::wall_nanos())?,
    };
    archives::walk_with(target, &Excludes::default(), cancel, &mut writing)?;
    while let Some(index) = writing.order.next() {
        writing.changed(index)?;
    }
    Ok(writing.writer.finish()?)
}

/// Compares a restored tree with a walk of the target.
struct RestoredManifest<'a> {
    tree: &'a Tree,
    order: std::iter::Peekable<std::vec::IntoIter<u32>>,
    reader: archives::EntryHasher,
    settled_before_ns: i64,
    writer: ManifestWriter,
}

impl Visitor for RestoredManifest<'_> {
    fn entry(&mut self, path: &[u8], kind: NodeKind, stat: &Stat) -> failure::Result<()> {
        let tree = self.tree;
        let is_before = |index: &u32| walk_order(tree.path_at(*index), path).is_lt();
        while let Some(gone) = self.order.next_if(is_before) {
            self.changed(gone)?;
        }
        let Some(number) = self.order.next_if(|index| tree.path_at(*index) == path) else {
            return Ok(());
        };
        let (index, found) = (number as usize, Record::found(path, kind, stat));
        let restored = tree.nodes()[index];
        let looks_same =
            (restored.kind(), restored.mode(), restored.size) == (found.kind, found.mode, found.size);
        let is_certain = kind == NodeKind::Directory || found.facts.changed_ns < self.settled_before_ns;
        if looks_same
            && (is_certain
                || self
                    .reader
                    .hash(tree, index)
                    .is_ok_and(|hash| hash == tree.hash(index)))
        {
            self.writer.add(&found, tree.hash(index))?;
            return Ok(());
        }
        self.changed(number)
    }

    fn skip(&mut self, _path: &[u8], _why: &'static str) {}
}

impl RestoredManifest<'_> {
    /// Writes an entry that differs from what was restored, with facts that match no entry.
    fn changed(&mut self, index: u32) -> failure::Result<()> {
        let node = self.tree.nodes()[index as usize];
        let record = Record {
            path: self.tree.path(&node),
            kind: node.kind(),
            mode: node.mode(),
            size: node.size,
            facts: Facts::default(),
        };
        Ok(self.writer.add(&record, self.tree.hash(index as usize))?)
    }
}
