//! Lists the entries of a directory in an order that is the same on all machines: sorted by name, each directory before
//! its entries.

use std::ffi::OsStr;
use std::path::Path;

use crate::core::error::{Code, Error, Optional as _};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::path::MAX_PATH_BYTES;
use crate::core::sys::{clock, name};

use crate::core::archives::exclude::Excludes;
use crate::core::archives::format::limits::{self, MAX_DEPTH};
use crate::core::archives::tree::{Facts, NodeKind, Tree, as_path};
use crate::core::failure::Result;

/// An entry that is not part of the tree, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Relative path. Invalid UTF-8 is replaced.
    pub path: String,
    /// Human-readable reason.
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

/// Result of a walk.
#[derive(Debug, Default)]
pub struct Walk {
    /// All entries with their stats, without hashes.
    pub tree: Tree,
    /// Entries that share an inode with an earlier one: number of this entry, number of the first one.
    pub hard_links: Vec<(u32, u32)>,
    /// Entries that exist but are not part of the tree. Excluded entries are not listed.
    pub skipped: Vec<Skipped>,
}

/// Receives the entries of a walk.
pub(in crate::core) trait Visitor {
    /// Receives a file, directory or link. The permission bits of a link have no meaning.
    fn entry(&mut self, path: &[u8], kind: NodeKind, stat: &Stat) -> Result<()>;
    /// Receives an entry that is not part of the tree.
    fn skip(&mut self, path: &[u8], why: &'static str);
}

/// Reads names and stats of a directory, and no files. Never follows a link.
pub fn walk(directory: &Path, excludes: &Excludes, cancel: &Cancel) -> Result<Walk> {
    let mut found = WalkBuilder::default();
    found.walk.tree.taken_ns = clock::wall_nanos();
    walk_with(directory, excludes, cancel, &mut found)?;
    Ok(found.finish())
}

/// Reports the entries of a directory to `visitor`, in [`crate::core::archives::tree::walk_order`].
pub(in crate::core) fn walk_with(
    directory: &Path,
    excludes: &Excludes,
    cancel: &Cancel,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let mut walker = Walker {
        excludes,
        cancel,
        visitor,
    };
    let root = Directory::open(directory).map_err(|error| explain(directory, error))?;
    walker.directory(&root, &mut Vec::new(), 0)
}

/// Names a symbolic link in the error. It is not followed, and the kernel only reports that it is not a directory.
fn explain(directory: &Path, error: Error) -> Error {
    if fs::stat(directory).is_ok_and(|stat| stat.kind == Kind::Symlink) {
        let shown = directory.display();
        return Error::new(
            Code::Io,
            format!("'{shown}' is a symbolic link. Pass the directory that it leads to"),
        );
    }
    error
}

struct Walker<'a> {
    excludes: &'a Excludes,
    cancel: &'a Cancel,
    visitor: &'a mut dyn Visitor,
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
            path.extend_from_slice(name::as_bytes(&entry.name));
            if live.iter().any(|name| name == name::as_bytes(&entry.name)) {
                self.visitor
                    .skip(path, "an SQLite database in use (its -wal file is not empty)");
            } else if !self.excludes.matches(path) {
                limits::check_names(name::as_bytes(&entry.name))?;
                self.entry(directory, &entry.name, path, depth)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, directory: &Directory, name: &OsStr, path: &mut Vec<u8>, depth: usize) -> Result<()> {
        let Some(stat) = directory.stat(name, as_path(path)).optional()? else {
            self.visitor.skip(path, "vanished");
            return Ok(());
        };
        if path.len() >= MAX_PATH_BYTES || depth >= MAX_DEPTH {
            self.visitor
                .skip(path, "its path is too long or too deep to be restored");
            return Ok(());
        }
        match stat.kind {
            Kind::File => self.visitor.entry(path, NodeKind::File, &stat),
            Kind::Symlink => self.visitor.entry(path, NodeKind::Symlink, &stat),
            Kind::Directory => {
                let Some(below) = directory.open_directory(name, as_path(path)).optional()? else {
                    self.visitor.skip(path, "vanished");
                    return Ok(());
                };
                self.visitor.entry(path, NodeKind::Directory, &stat)?;
                self.directory(&below, path, depth + 1)
            }
            Kind::Other => {
                self.visitor.skip(path, "a device, socket or pipe");
                Ok(())
            }
        }
    }
}

/// A [`Walk`] under construction.
#[derive(Default)]
struct WalkBuilder {
    walk: Walk,
    /// Files with several hard links: position of the device in `devices`, number of the entry. Compact, because pnpm
    /// links every file of a tree.
    named_twice: Vec<(u32, u32)>,
    devices: Vec<u64>,
}

impl Visitor for WalkBuilder {
    fn entry(&mut self, path: &[u8], kind: NodeKind, stat: &Stat) -> Result<()> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "Tree has at most 2^32 entries, because each has a path"
        )]
        let index = self.walk.tree.len() as u32;
        let size = if kind == NodeKind::Directory { 0 } else { stat.size };
        self.walk
            .tree
            .push_found(path, kind, mode_of(kind, stat), size, facts_of(stat))?;
        if kind == NodeKind::File && stat.links > 1 {
            let device = self.device(stat.device);
            self.named_twice.push((device, index));
        }
        Ok(())
    }

    fn skip(&mut self, path: &[u8], why: &'static str) {
        self.walk.skipped.push(Skipped::new(path, why));
    }
}

impl WalkBuilder {
    #[expect(clippy::cast_possible_truncation, reason = "a tree contains few mounts")]
    fn device(&mut self, device: u64) -> u32 {
        let known = self.devices.iter().position(|known| *known == device);
        known.unwrap_or_else(|| {
            self.devices.push(device);
            self.devices.len() - 1
        }) as u32
    }

    /// After sorting, the names of one inode are adjacent. The first of them is the file.
    fn finish(mut self) -> Walk {
        let tree = &self.walk.tree;
        let inode = |(device, index): &(u32, u32)| (*device, tree.facts(*index as usize).inode);
        self.named_twice
            .sort_unstable_by_key(|named| (inode(named), named.1));
        let names = self.named_twice.chunk_by(|one, other| inode(one) == inode(other));
        let hard_links = &mut self.walk.hard_links;
        for names in names {
            hard_links.extend(names[1..].iter().map(|(_, index)| (*index, names[0].1)));
        }
        hard_links.sort_unstable();
        self.walk
    }
}

/// Permission bits that count.
pub(in crate::core) fn mode_of(kind: NodeKind, stat: &Stat) -> u32 {
    if kind == NodeKind::Symlink {
        0o777
    } else {
        stat.mode
    }
}

/// Facts of a stat that show whether the bytes have changed.
pub(in crate::core) fn facts_of(stat: &Stat) -> Facts {
    let clamp = |time: i128| i64::try_from(time).unwrap_or(if time < 0 { i64::MIN } else { i64::MAX });
    Facts {
        inode: stat.inode,
        modified_ns: clamp(stat.modified_ns),
        changed_ns: clamp(stat.changed_ns),
    }
}

/// Finds live SQLite databases. A database, its log and its shared memory belong together: a copy of one without the
/// others is damaged.
fn live_databases(
    directory: &Directory,
    entries: &[crate::core::sys::fs::Entry],
    path: &[u8],
) -> Vec<Vec<u8>> {
    let mut live = Vec::new();
    for entry in entries {
        let Some(base) = name::as_bytes(&entry.name).strip_suffix(b"-wal") else {
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
