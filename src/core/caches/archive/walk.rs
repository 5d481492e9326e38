//! The entries of a directory, in one order for all machines: sorted by name, each directory before what it holds.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::error::Optional as _;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{Kind, Stat};
use crate::core::sys::path::MAX_PATH_BYTES;

use super::super::exclude::Excludes;
use super::super::failure::Result;
use super::super::tree::{Facts, Hash, NodeKind, Tree, as_path};
use super::limits::MAX_DEPTH;

/// An entry that is not part of the tree, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Relative path; bytes that are no text are replaced.
    pub path: String,
    /// Why, for people.
    pub why: &'static str,
}

impl Skipped {
    pub(super) fn new(path: &[u8], why: &'static str) -> Self {
        Self {
            path: String::from_utf8_lossy(path).into_owned(),
            why,
        }
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// All entries with what stat said of them, without hashes.
    pub tree: Tree,
    /// Entries that share an inode with an earlier one: index of this one, index of the first.
    pub hard_links: Vec<(u32, u32)>,
    /// What is there but is not part of the tree; excluded entries are not named.
    pub skipped: Vec<Skipped>,
}

/// Reads a directory's names and stats, and no file. Never follows a link.
pub fn walk(directory: &Path, excludes: &Excludes, cancel: &Cancel) -> Result<Walk> {
    let mut walker = Walker {
        excludes,
        cancel,
        found: Walk::default(),
        inodes: HashMap::new(),
    };
    walker.found.tree.taken_ns = now_ns();
    walker.directory(&Directory::open(directory)?, &mut Vec::new(), 0)?;
    Ok(walker.found)
}

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

struct Walker<'a> {
    excludes: &'a Excludes,
    cancel: &'a Cancel,
    found: Walk,
    /// First entry of each inode that has several names.
    inodes: HashMap<(u64, u64), u32>,
}

impl Walker<'_> {
    fn directory(&mut self, directory: &Directory, path: &mut Vec<u8>, depth: usize) -> Result<()> {
        self.cancel.check()?;
        let mut entries = directory.entries(as_path(path))?;
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let live = live_databases(directory, &entries, path);
        for entry in entries {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name.as_bytes());
            if live.iter().any(|name| name == entry.name.as_bytes()) {
                self.skip(
                    path,
                    "a SQLite database that is being written (its -wal is not empty)",
                );
            } else if !self.excludes.matches(path) {
                self.entry(directory, &entry.name, path, depth)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, directory: &Directory, name: &OsStr, path: &mut Vec<u8>, depth: usize) -> Result<()> {
        let Some(stat) = directory.stat(name, as_path(path)).optional()? else {
            self.skip(path, "vanished");
            return Ok(());
        };
        if path.len() >= MAX_PATH_BYTES || depth >= MAX_DEPTH {
            self.skip(path, "its path is too long or too deep to be restored");
            return Ok(());
        }
        match stat.kind {
            Kind::File => self.file(path, &stat),
            Kind::Symlink => self.push(path, NodeKind::Symlink, &stat),
            Kind::Directory => {
                let Some(below) = directory.open_directory(name, as_path(path)).optional()? else {
                    self.skip(path, "vanished");
                    return Ok(());
                };
                self.push(path, NodeKind::Directory, &stat)?;
                self.directory(&below, path, depth + 1)
            }
            Kind::Other => {
                self.skip(path, "a device, socket or pipe");
                Ok(())
            }
        }
    }

    fn file(&mut self, path: &[u8], stat: &Stat) -> Result<()> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "Tree holds at most 2^32 entries, as each has a path"
        )]
        let index = self.found.tree.len() as u32;
        self.push(path, NodeKind::File, stat)?;
        if stat.links > 1 {
            let first = *self.inodes.entry((stat.device, stat.inode)).or_insert(index);
            if first != index {
                self.found.hard_links.push((index, first));
            }
        }
        Ok(())
    }

    fn push(&mut self, path: &[u8], kind: NodeKind, stat: &Stat) -> Result<()> {
        let mode = if kind == NodeKind::Symlink {
            0o777
        } else {
            stat.mode
        };
        let size = if kind == NodeKind::Directory { 0 } else { stat.size };
        Ok(self
            .found
            .tree
            .push(path, kind, mode, size, Hash::default(), facts(stat))?)
    }

    fn skip(&mut self, path: &[u8], why: &'static str) {
        self.found.skipped.push(Skipped::new(path, why));
    }
}

/// What of a stat tells that bytes have changed.
pub(in super::super) fn facts(stat: &Stat) -> Facts {
    let clamp = |time: i128| i64::try_from(time).unwrap_or(if time < 0 { i64::MIN } else { i64::MAX });
    Facts {
        inode: stat.inode,
        modified_ns: clamp(stat.modified_ns),
        changed_ns: clamp(stat.changed_ns),
    }
}

/// A database, its log and its shared memory belong together: a copy of one without the others is damaged.
fn live_databases(
    directory: &Directory,
    entries: &[crate::core::sys::fs::Entry],
    path: &[u8],
) -> Vec<Vec<u8>> {
    let mut live = Vec::new();
    for entry in entries {
        let Some(base) = entry.name.as_bytes().strip_suffix(b"-wal") else {
            continue;
        };
        if directory
            .stat(&entry.name, as_path(path))
            .is_ok_and(|stat| stat.kind == Kind::File && stat.size > 0)
        {
            live.extend([base.to_vec(), [base, b"-wal"].concat(), [base, b"-shm"].concat()]);
        }
    }
    live
}
