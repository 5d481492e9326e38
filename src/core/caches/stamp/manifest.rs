//! A tree compared with what is known of it.

use std::path::{Path, PathBuf};

use crate::core::error::Result;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::Stat;

use super::file::{Place, Record, StampReader, StampWriter};
use crate::core::archives::exclude::Excludes;
use crate::core::archives::failure;
use crate::core::archives::site::follow;
use crate::core::archives::tree::{Facts, NodeKind, Tree, walk_order};
use crate::core::archives::{self, Skipped, Visit, Walk};

/// Kernel clocks for times of files tick every 1 to 10 ms: what changed so shortly before the stamp was taken
/// could change again without a new time (git calls it racily clean).
const TICK_NS: i64 = 20_000_000;

/// What is known of a target.
pub struct Stamp {
    /// The generation that the target holds.
    pub generation: String,
    entries: StampReader,
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
    /// Whether stat alone showed that nothing changed since the stamp.
    pub is_unchanged: bool,
}

/// Where the stamp of a target is.
pub fn path_of(target: &Path) -> Result<PathBuf> {
    Place::of(target).map(|place| place.path())
}

/// Takes a stamp of a target that was restored: one stat for each entry of `tree`, which has the hashes. The call
/// has answered by now and its caller may be editing: only what certainly did not change since `committed_ns`, a
/// moment before the commit, is trusted; what may have is read again. An entry that is not as it was restored, or
/// not there any more, is in the stamp with facts that no entry has, and so counts as changed.
pub fn write_restored(
    target: &Path,
    generation: &str,
    tree: &Tree,
    committed_ns: i64,
    cancel: &Cancel,
) -> failure::Result<()> {
    // Later, so that the files restored last are not taken for ones that may still change unseen.
    let pause = std::time::Duration::from_nanos(TICK_NS.unsigned_abs());
    cancel.sleep(pause, Deadline::NEVER);
    let target = &*follow(target)?;
    let mut stamping = Stamping {
        tree,
        order: tree.sorted_by(walk_order).into_iter().peekable(),
        reader: archives::Reader::new(Directory::open(target)?),
        settled_before_ns: committed_ns - TICK_NS,
        writer: StampWriter::begin(Place::of(target)?, generation, archives::now_ns())?,
    };
    archives::visit(target, &Excludes::default(), cancel, &mut stamping)?;
    while let Some(index) = stamping.order.next() {
        stamping.changed(index)?;
    }
    Ok(stamping.writer.finish()?)
}

/// A restored tree, gone through beside a walk of the target.
struct Stamping<'a> {
    tree: &'a Tree,
    order: std::iter::Peekable<std::vec::IntoIter<u32>>,
    reader: archives::Reader,
    settled_before_ns: i64,
    writer: StampWriter,
}

impl Visit for Stamping<'_> {
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

impl Stamping<'_> {
    /// An entry that is not what was restored: no facts are those of anything.
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

/// Writes a stamp of a tree whose nodes have hashes and facts, in the order of a walk, as a pack or a scan
/// leaves it.
pub fn write(target: &Path, generation: &str, tree: &Tree) -> Result<()> {
    let mut writer = StampWriter::begin(Place::of(target)?, generation, tree.taken_ns)?;
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

/// Opens the stamp of a target. One that is missing, a stranger's or of another version is `None`; damage is found
/// when it was read to its end.
pub fn read(target: &Path) -> Result<Option<Stamp>> {
    Ok(StampReader::open(&Place::of(target)?)?.map(|(generation, entries)| Stamp { generation, entries }))
}

impl Stamp {
    /// Files and bytes of the target if it holds exactly what the stamp says: one stat for each entry, no file
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
        archives::visit(&follow(target)?, excludes, cancel, &mut comparing)?;
        let is_same = comparing.is_same && comparing.entries.is_whole();
        Ok(is_same.then_some((comparing.files, comparing.bytes)))
    }

    /// Looks at a target: entries whose stat is that of the stamp keep their hash, the others are read.
    pub fn scan(self, target: &Path, excludes: &Excludes, cancel: &Cancel) -> failure::Result<Scan> {
        let target = &*follow(target)?;
        let Walk {
            mut tree, skipped, ..
        } = archives::walk(target, excludes, cancel)?;
        let (known, is_unchanged) = self.recognize(&mut tree);
        let mut reader = archives::Reader::new(Directory::open(target)?);
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

/// A stamp, gone through beside a walk of the target.
struct Comparing {
    entries: StampReader,
    is_same: bool,
    files: u64,
    bytes: u64,
}

impl Visit for Comparing {
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

impl Record<'_> {
    /// Whether the bytes are still those that the stamp has the hash of.
    fn is_trusted(&self, now: Facts, taken_ns: i64) -> bool {
        match self.kind {
            // A directory's times change with what is in it, which is compared by itself.
            NodeKind::Directory => true,
            NodeKind::File | NodeKind::Symlink => {
                self.facts == now && self.facts.changed_ns < taken_ns - TICK_NS
            }
        }
    }
}

impl<'a> Record<'a> {
    fn found(path: &'a [u8], kind: NodeKind, stat: &Stat) -> Self {
        Self {
            path,
            kind,
            mode: (archives::mode_of(kind, stat) & 0o777) as u16,
            size: if kind == NodeKind::Directory { 0 } else { stat.size },
            facts: archives::facts_of(stat),
        }
    }
}
