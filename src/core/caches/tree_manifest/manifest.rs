//! Comparison of a tree with its tree manifest.

use std::path::{Path, PathBuf};

use super::place::Place;
use super::reader::ManifestReader;
use super::record::Record;
use super::writer::ManifestWriter;
use crate::core::archives::exclude::Excludes;
use crate::core::archives::shared_directory::follow;
use crate::core::archives::tree::{NodeKind, Tree, walk_order};
use crate::core::archives::{self, Skipped, Visitor, Walk};
use crate::core::error::Result;
use crate::core::failure;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::Stat;

/// The tree manifest of a target.
pub struct TreeManifest {
    /// Generation that the target contains.
    pub generation: String,
    entries: ManifestReader,
}

/// Result of a scan of a target.
#[derive(Debug)]
pub struct Scan {
    /// Entries of the target, with hashes.
    pub tree: Tree,
    /// Number of files that were read.
    pub read_files: u64,
    /// Entries that exist but are not part of the tree.
    pub skipped: Vec<Skipped>,
    /// Whether the stats alone proved that nothing changed since the tree manifest.
    pub is_unchanged: bool,
}

/// Path of the tree manifest of a target.
pub fn path_of(target: &Path) -> Result<PathBuf> {
    Place::of(target).map(|place| place.path())
}

/// Writes a tree manifest. The nodes of the tree have hashes and facts, in the order of a walk, as a pack or a scan
/// leaves them.
pub fn write(target: &Path, generation: &str, tree: &Tree) -> Result<()> {
    let mut writer = ManifestWriter::begin(Place::of(target)?, generation, tree.taken_ns)?;
    for (at, node) in tree.nodes().iter().enumerate() {
        let record = Record {
            path: tree.path(node),
            kind: node.kind(),
            mode: node.mode(),
            size: node.size,
            facts: tree.facts(at),
        };
        writer.add(&record, tree.hash(at))?;
    }
    writer.finish()
}

/// Opens the tree manifest of a target. Returns `None` if it is missing, belongs to an untrusted user or has another
/// version. Damage is detected after it was read to its end.
pub fn read(target: &Path) -> Result<Option<TreeManifest>> {
    Ok(ManifestReader::open(&Place::of(target)?)?
        .map(|(generation, entries)| TreeManifest { generation, entries }))
}

impl TreeManifest {
    /// Number of files and bytes of the target if it exactly matches the tree manifest. Makes one stat for each entry
    /// and reads no file.
    pub fn find_unchanged(
        self,
        target: &Path,
        excludes: &Excludes,
        cancel: &Cancel,
    ) -> failure::Result<Option<(u64, u64)>> {
        let mut comparing = Comparing {
            entries: self.entries,
            is_same: true,
            files: 0,
            bytes: 0,
        };
        archives::walk_with(&follow(target)?, excludes, cancel, &mut comparing)?;
        let is_same = comparing.is_same && comparing.entries.is_whole();
        Ok(is_same.then_some((comparing.files, comparing.bytes)))
    }

    /// Scans a target. Entries whose stat equals that of the tree manifest keep their hash. The others are read.
    pub fn scan(self, target: &Path, excludes: &Excludes, cancel: &Cancel) -> failure::Result<Scan> {
        let target = &*follow(target)?;
        let Walk {
            mut tree, skipped, ..
        } = archives::walk(target, excludes, cancel)?;
        let (known, is_unchanged) = self.recognize(&mut tree);
        let mut reader = archives::EntryHasher::new(Directory::open(target)?);
        let mut read_files = 0;
        for (at, is_known) in known.into_iter().enumerate() {
            cancel.check()?;
            let kind = tree.nodes()[at].kind();
            if is_known || kind == NodeKind::Directory {
                continue;
            }
            read_files += u64::from(kind == NodeKind::File);
            let hash = reader.hash(&tree, at)?;
            tree.set_hash(at, hash);
        }
        Ok(Scan {
            tree,
            read_files,
            skipped,
            is_unchanged,
        })
    }

    /// Sets the hashes of unchanged entries of a walk. Returns which entries are unchanged, and whether the tree as a
    /// whole is.
    fn recognize(mut self, tree: &mut Tree) -> (Vec<bool>, bool) {
        let mut known = vec![false; tree.len()];
        let mut is_unchanged = true;
        let taken_ns = self.entries.taken_ns;
        let mut at = 0;
        while let Some((record, hash)) = self.entries.next() {
            while at < tree.len() && walk_order(tree.path(&tree.nodes()[at]), record.path).is_lt() {
                at += 1;
            }
            let node = tree.nodes().get(at).copied();
            let Some(node) = node.filter(|node| tree.path(node) == record.path) else {
                is_unchanged = false;
                continue;
            };
            let is_same = (record.kind, record.mode, record.size) == (node.kind(), node.mode(), node.size);
            known[at] = is_same && record.is_trusted(tree.facts(at), taken_ns);
            if known[at] {
                tree.set_hash(at, hash);
            }
        }
        if !self.entries.is_whole() {
            known.fill(false);
        }
        is_unchanged &= known.iter().all(|known| *known);
        (known, is_unchanged)
    }
}

/// Compares a tree manifest with a walk of the target, entry by entry.
struct Comparing {
    entries: ManifestReader,
    is_same: bool,
    files: u64,
    bytes: u64,
}

impl Visitor for Comparing {
    fn entry(&mut self, path: &[u8], kind: NodeKind, stat: &Stat) -> failure::Result<()> {
        if !self.is_same {
            return Ok(());
        }
        let found = Record::found(path, kind, stat);
        let taken_ns = self.entries.taken_ns;
        self.is_same = self.entries.next().is_some_and(|(record, _)| {
            (record.path, record.kind, record.mode, record.size)
                == (found.path, found.kind, found.mode, found.size)
                && record.is_trusted(found.facts, taken_ns)
        });
        if kind == NodeKind::File {
            self.files += 1;
            self.bytes += stat.size;
        }
        Ok(())
    }

    fn skip(&mut self, _path: &[u8], _why: &'static str) {}
}
