//! A tree compared with what is known of it.

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

/// What is known of a target.
pub struct TreeManifest {
    /// The generation that the target holds.
    pub generation: String,
    entries: ManifestReader,
}

/// What a look at a target found.
#[derive(Debug)]
pub struct Scan {
    /// Its entries, with hashes.
    pub tree: Tree,
    /// Files whose bytes had to be read.
    pub read_files: u64,
    /// What is there but is not part of the tree.
    pub skipped: Vec<Skipped>,
    /// Whether stat alone showed that nothing changed since the tree manifest.
    pub is_unchanged: bool,
}

/// Where the tree manifest of a target is.
pub fn path_of(target: &Path) -> Result<PathBuf> {
    Place::of(target).map(|place| place.path())
}

/// Writes a tree manifest of a tree whose nodes have hashes and facts, in the order of a walk, as a pack or a scan
/// leaves it.
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

/// Opens the tree manifest of a target. One that is missing, a stranger's or of another version is `None`; damage
/// is found when it was read to its end.
pub fn read(target: &Path) -> Result<Option<TreeManifest>> {
    Ok(ManifestReader::open(&Place::of(target)?)?
        .map(|(generation, entries)| TreeManifest { generation, entries }))
}

impl TreeManifest {
    /// Files and bytes of the target if it holds exactly what the tree manifest says: one stat for each entry, no file
    /// is read.
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

    /// Looks at a target: entries whose stat is that of the tree manifest keep their hash, the others are read.
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

    /// Gives the entries of a walk that are as they were their hashes. Says which, and whether all are and no
    /// other was there.
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

/// A tree manifest, gone through beside a walk of the target.
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
