//! Content of a tree: paths, kinds, permission bits, sizes and hashes. It is compact, so that a million entries fit
//! into the memory limit: 32 bytes and the path for each entry, 24 more if it has facts of the filesystem.

use std::cmp::Ordering;
use std::path::Path;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::name;

/// First 128 bits of BLAKE3 over a file's bytes or a link's text.
pub type Hash = [u8; 16];

const MODE_BITS: u16 = 0o777;
const KIND_SHIFT: u32 = 9;

/// Kind of an entry. The numbers are part of the tree manifest and the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeKind {
    /// A regular file. A further hard link counts as a separate file.
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
    /// Permission bits, with the kind above them.
    bits: u16,
    /// Size of a file, or of a link's text, in bytes.
    pub size: u64,
}

impl Node {
    /// Kind of the entry.
    pub fn kind(&self) -> NodeKind {
        match self.bits >> KIND_SHIFT {
            2 => NodeKind::Directory,
            3 => NodeKind::Symlink,
            _ => NodeKind::File,
        }
    }

    /// Permission bits (`0o777`).
    pub fn mode(&self) -> u16 {
        self.bits & MODE_BITS
    }
}

/// Facts of a stat. While all three are unchanged, the bytes are assumed to be unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Inode number.
    pub inode: u64,
    /// Last change of the bytes, in nanoseconds since the epoch.
    pub modified_ns: i64,
    /// Last change of the inode, in nanoseconds since the epoch.
    pub changed_ns: i64,
}

/// Entries of a tree, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Tree {
    paths: Vec<u8>,
    nodes: Vec<Node>,
    hashes: Vec<Hash>,
    /// As long as the other lists, or empty if the tree has no facts of the filesystem.
    facts: Vec<Facts>,
    /// Time before the first stat, in nanoseconds since the epoch.
    pub taken_ns: i64,
}

impl Tree {
    /// Creates an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry without facts of the filesystem. The hash is that of a file's bytes or a link's text. It is zero
    /// until it is known, and for directories.
    pub fn push(&mut self, path: &[u8], kind: NodeKind, mode: u32, size: u64, hash: Hash) -> Result<()> {
        let too_large = |_| {
            Error::new(
                Code::TooLarge,
                "the paths of this tree have more than 4 GiB in total",
            )
        };
        let start = u32::try_from(self.paths.len()).map_err(too_large)?;
        let length = u16::try_from(path.len()).map_err(too_large)?;
        self.paths.extend_from_slice(path);
        self.nodes.push(Node {
            start,
            length,
            bits: bits(kind, mode),
            size,
        });
        self.hashes.push(hash);
        Ok(())
    }

    /// Adds an entry with its stat. Its hash is not known yet.
    pub(in crate::core) fn push_found(
        &mut self,
        path: &[u8],
        kind: NodeKind,
        mode: u32,
        size: u64,
        facts: Facts,
    ) -> Result<()> {
        self.push(path, kind, mode, size, Hash::default())?;
        self.facts.push(facts);
        Ok(())
    }

    /// Memory of the entries in bytes.
    pub(in crate::core) fn memory_bytes(&self) -> usize {
        self.paths.len() + self.len() * (size_of::<Node>() + size_of::<Hash>())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All entries.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Hash of an entry.
    pub fn hash(&self, index: usize) -> Hash {
        self.hashes[index]
    }

    pub(in crate::core) fn set_hash(&mut self, index: usize, hash: Hash) {
        self.hashes[index] = hash;
    }

    /// Moves the hashes out, so that they can be set while other threads read the rest.
    pub(in crate::core) fn take_hashes(&mut self) -> Vec<Hash> {
        std::mem::take(&mut self.hashes)
    }

    /// Moves the hashes back.
    pub(in crate::core) fn put_hashes(&mut self, hashes: Vec<Hash>) {
        debug_assert_eq!(hashes.len(), self.nodes.len(), "one hash for each entry");
        self.hashes = hashes;
    }

    /// Facts of an entry. Zero if the tree has none.
    pub fn facts(&self, index: usize) -> Facts {
        self.facts.get(index).copied().unwrap_or_default()
    }

    /// Sets the final mode and size of an entry.
    pub(in crate::core) fn set(&mut self, index: usize, mode: u32, size: u64) {
        let node = &mut self.nodes[index];
        node.bits = bits(node.kind(), mode);
        node.size = size;
    }

    /// Sets the current facts of an entry.
    pub(in crate::core) fn set_facts(&mut self, index: usize, facts: Facts) {
        self.facts[index] = facts;
    }

    /// Path of an entry relative to the tree, with `/` between the components.
    pub fn path(&self, node: &Node) -> &[u8] {
        &self.paths[node.start as usize..node.start as usize + usize::from(node.length)]
    }

    /// Path of the entry with this number.
    pub(in crate::core) fn path_at(&self, index: u32) -> &[u8] {
        self.path(&self.nodes[index as usize])
    }

    /// Keeps the entries for which `keep` is true.
    pub(in crate::core) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        fn retain<T>(column: &mut Vec<T>, keep: &impl Fn(usize) -> bool) {
            let mut index = 0;
            column.retain(|_| {
                index += 1;
                keep(index - 1)
            });
        }
        retain(&mut self.facts, &keep);
        retain(&mut self.hashes, &keep);
        retain(&mut self.nodes, &keep);
    }

    /// Number of files, and their total bytes.
    pub fn totals(&self) -> (u64, u64) {
        self.nodes
            .iter()
            .filter(|node| node.kind() == NodeKind::File)
            .fold((0, 0), |(files, bytes), node| (files + 1, bytes + node.size))
    }

    /// Numbers of the entries, sorted by their paths with `compare`.
    pub(in crate::core) fn sorted_by(&self, compare: impl Fn(&[u8], &[u8]) -> Ordering) -> Vec<u32> {
        let mut order: Vec<u32> = (0_u32..).take(self.len()).collect();
        order.sort_unstable_by(|one, other| compare(self.path_at(*one), self.path_at(*other)));
        order
    }

    /// Digest of the tree in 64 hexadecimal digits: BLAKE3 over the entries sorted by path. Two trees have the same
    /// digest exactly if paths, kinds, permission bits, bytes and link texts are the same. Inodes, times, owners and
    /// hard links do not matter.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"warmswap tree 1\n");
        for index in self.sorted_by(<[u8]>::cmp) {
            let node = &self.nodes[index as usize];
            hasher.update(&[node.kind() as u8]);
            hasher.update(&node.mode().to_le_bytes());
            hasher.update(&u32::from(node.length).to_le_bytes());
            hasher.update(self.path(node));
            if node.kind() != NodeKind::Directory {
                hasher.update(&node.size.to_le_bytes());
                hasher.update(&self.hashes[index as usize]);
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn bits(kind: NodeKind, mode: u32) -> u16 {
    ((kind as u16) << KIND_SHIFT) | (mode & 0o777) as u16
}

/// Order of a walk: by name, each directory before its entries. `/` sorts before every byte of a name. With plain byte
/// order, `a-b` would be between `a` and `a/c`.
pub(in crate::core) fn walk_order(one: &[u8], other: &[u8]) -> Ordering {
    let below = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(below).cmp(other.iter().map(below))
}

/// Hash of one entry's bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    shorten(&blake3::hash(bytes))
}

/// Part of a BLAKE3 hash that is kept.
pub(in crate::core) fn shorten(hash: &blake3::Hash) -> Hash {
    let mut short = Hash::default();
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// Converts a relative path of a tree to a path of the operating system.
pub(in crate::core) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(name::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in entries {
            let bytes = text.as_bytes();
            tree.push(
                path.as_bytes(),
                NodeKind::File,
                0o644,
                bytes.len() as u64,
                hash(bytes),
            )
            .expect("a short path");
        }
        tree
    }

    #[test]
    fn an_entry_takes_16_bytes_and_keeps_kind_and_mode() {
        assert_eq!(size_of::<Node>(), 16);
        for kind in [NodeKind::File, NodeKind::Directory, NodeKind::Symlink] {
            let mut tree = Tree::new();
            tree.push(b"x", kind, 0o100_641, 7, Hash::default())
                .expect("a short path");
            let node = tree.nodes()[0];
            assert_eq!((node.kind(), node.mode(), node.size), (kind, 0o641, 7));
        }
    }

    #[test]
    fn a_walk_finishes_a_directory_before_its_next_neighbour() {
        let tree = tree(&[("a-b", ""), ("a/c", ""), ("a", ""), ("a/b/c", "")]);
        let order = tree.sorted_by(walk_order);
        let paths: Vec<_> = order.iter().map(|index| tree.path_at(*index)).collect();
        assert_eq!(paths, [&b"a"[..], b"a/b/c", b"a/c", b"a-b"]);
    }

    #[test]
    fn the_digest_depends_on_the_content_not_on_its_order() {
        let one = tree(&[("a", "1"), ("b", "2")]);
        assert_eq!(one.digest(), tree(&[("b", "2"), ("a", "1")]).digest());
        assert_ne!(one.digest(), tree(&[("a", "2"), ("b", "1")]).digest());
        assert_ne!(one.digest(), tree(&[("a", "1"), ("b", "2"), ("c", "")]).digest());
    }
}
