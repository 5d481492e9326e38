//! What a tree holds: paths, kinds, permission bits, sizes and hashes, in little memory (64 bytes and the path
//! for each entry, so that a million of them fits the memory budget).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::core::error::{Code, Error, Result};

/// The first 128 bits of BLAKE3 over a file's bytes or a link's text.
pub type Hash = [u8; 16];

/// What an entry of a tree is. The numbers are those of the stamp and of the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeKind {
    /// A regular file; a further hard link is a file of its own here.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
}

/// One entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    start: u32,
    length: u16,
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits (`0o777`).
    pub mode: u16,
    /// Bytes of a file, or of a link's text.
    pub size: u64,
    /// Hash of a file's bytes or of a link's text; zeros until it is known, and for directories.
    pub hash: Hash,
}

/// What stat says of an entry: as long as all three stay, its bytes are taken to be the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Inode number.
    pub inode: u64,
    /// Last change of the bytes, nanoseconds since the epoch.
    pub modified_ns: i64,
    /// Last change of the inode, nanoseconds since the epoch.
    pub changed_ns: i64,
}

/// A tree's entries, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Tree {
    paths: Vec<u8>,
    nodes: Vec<Node>,
    facts: Vec<Facts>,
    /// When the filesystem was asked for the facts, nanoseconds since the epoch: not later than the first answer.
    pub taken_ns: i64,
}

impl Tree {
    /// A tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. `facts` is all zeros where nobody asked the filesystem.
    pub fn push(
        &mut self,
        path: &[u8],
        kind: NodeKind,
        mode: u32,
        size: u64,
        hash: Hash,
        facts: Facts,
    ) -> Result<()> {
        let too_large = |_| {
            Error::new(
                Code::TooLarge,
                "the paths of this tree have more than 4 GiB together",
            )
        };
        let start = u32::try_from(self.paths.len()).map_err(too_large)?;
        let length = u16::try_from(path.len()).map_err(too_large)?;
        self.paths.extend_from_slice(path);
        self.nodes.push(Node {
            start,
            length,
            kind,
            mode: (mode & 0o777) as u16,
            size,
            hash,
        });
        self.facts.push(facts);
        Ok(())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All entries.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// An entry that can be changed.
    pub(super) fn node_mut(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    /// What stat said of an entry.
    pub fn facts(&self, index: usize) -> Facts {
        self.facts[index]
    }

    /// What stat said of an entry, to be changed.
    pub(super) fn facts_mut(&mut self, index: usize) -> &mut Facts {
        &mut self.facts[index]
    }

    /// The path of an entry, relative to the tree, with `/` between its parts.
    pub fn path(&self, node: &Node) -> &[u8] {
        &self.paths[node.start as usize..node.start as usize + usize::from(node.length)]
    }

    /// Keeps the entries for which `keep` is true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut index = 0;
        self.facts.retain(|_| {
            index += 1;
            keep(index - 1)
        });
        index = 0;
        self.nodes.retain(|_| {
            index += 1;
            keep(index - 1)
        });
    }

    /// Files, and their bytes together.
    pub fn totals(&self) -> (u64, u64) {
        self.nodes
            .iter()
            .filter(|node| node.kind == NodeKind::File)
            .fold((0, 0), |(files, bytes), node| (files + 1, bytes + node.size))
    }

    /// The digest of the tree, as 64 hexadecimal digits: BLAKE3 over the entries sorted by path. Two trees have
    /// the same one exactly when paths, kinds, permission bits, bytes and link texts are the same. Inodes,
    /// times, owners and whether files share an inode do not count.
    pub fn digest(&self) -> String {
        let mut order: Vec<&Node> = self.nodes.iter().collect();
        order.sort_unstable_by(|one, other| self.path(one).cmp(self.path(other)));
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"warmswap tree 1\n");
        for node in order {
            hasher.update(&[node.kind as u8]);
            hasher.update(&node.mode.to_le_bytes());
            hasher.update(&u32::from(node.length).to_le_bytes());
            hasher.update(self.path(node));
            if node.kind != NodeKind::Directory {
                hasher.update(&node.size.to_le_bytes());
                hasher.update(&node.hash);
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The hash of one entry's bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    shorten(&blake3::hash(bytes))
}

/// The part of a BLAKE3 hash that is kept.
pub(super) fn shorten(hash: &blake3::Hash) -> Hash {
    let mut short = Hash::default();
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// A relative path of a tree as the operating system takes it.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in entries {
            let facts = Facts::default();
            let bytes = text.as_bytes();
            tree.push(
                path.as_bytes(),
                NodeKind::File,
                0o644,
                bytes.len() as u64,
                hash(bytes),
                facts,
            )
            .expect("a short path");
        }
        tree
    }

    #[test]
    fn the_digest_is_of_what_is_there_not_of_its_order() {
        let one = tree(&[("a", "1"), ("b", "2")]);
        assert_eq!(one.digest(), tree(&[("b", "2"), ("a", "1")]).digest());
        assert_ne!(one.digest(), tree(&[("a", "2"), ("b", "1")]).digest());
        assert_ne!(one.digest(), tree(&[("a", "1"), ("b", "2"), ("c", "")]).digest());
    }
}
