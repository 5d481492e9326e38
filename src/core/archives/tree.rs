//! What a tree holds: paths, kinds, permission bits, sizes and hashes, in little memory: 32 bytes and the path
//! for each entry, 24 more where the filesystem was asked, so that a million of them fits the memory budget.

use std::cmp::Ordering;
use std::path::Path;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::name;

/// The first 128 bits of BLAKE3 over a file's bytes or a link's text.
pub type Hash = [u8; 16];

const MODE_BITS: u16 = 0o777;
const KIND_SHIFT: u32 = 9;

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
    /// Permission bits, and the kind above them.
    bits: u16,
    /// Bytes of a file, or of a link's text.
    pub size: u64,
}

impl Node {
    /// What it is.
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
    hashes: Vec<Hash>,
    /// As long as the others, or empty where the filesystem was not asked.
    facts: Vec<Facts>,
    /// When the filesystem was asked for the facts, nanoseconds since the epoch: not later than the first answer.
    pub taken_ns: i64,
}

impl Tree {
    /// A tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry of which nobody asked the filesystem. The hash is that of a file's bytes or of a link's
    /// text; zeros until it is known, and for directories.
    pub fn push(&mut self, path: &[u8], kind: NodeKind, mode: u32, size: u64, hash: Hash) -> Result<()> {
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
            bits: bits(kind, mode),
            size,
        });
        self.hashes.push(hash);
        Ok(())
    }

    /// Adds an entry as stat told it; its hash is not known yet.
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

    /// What the entries take.
    pub(in crate::core) fn memory_bytes(&self) -> usize {
        self.paths.len() + self.len() * (size_of::<Node>() + size_of::<Hash>())
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

    /// The hash of an entry.
    pub fn hash(&self, index: usize) -> Hash {
        self.hashes[index]
    }

    pub(in crate::core) fn set_hash(&mut self, index: usize, hash: Hash) {
        self.hashes[index] = hash;
    }

    /// Takes the hashes out, for who fills them in while others read the rest.
    pub(in crate::core) fn take_hashes(&mut self) -> Vec<Hash> {
        std::mem::take(&mut self.hashes)
    }

    /// Gives the hashes back.
    pub(in crate::core) fn put_hashes(&mut self, hashes: Vec<Hash>) {
        debug_assert_eq!(hashes.len(), self.nodes.len(), "one hash for each entry");
        self.hashes = hashes;
    }

    /// What stat said of an entry; zeros where it was not asked.
    pub fn facts(&self, index: usize) -> Facts {
        self.facts.get(index).copied().unwrap_or_default()
    }

    /// What an entry turned out to be.
    pub(in crate::core) fn set(&mut self, index: usize, mode: u32, size: u64) {
        let node = &mut self.nodes[index];
        node.bits = bits(node.kind(), mode);
        node.size = size;
    }

    /// What stat says of an entry by now.
    pub(in crate::core) fn set_facts(&mut self, index: usize, facts: Facts) {
        self.facts[index] = facts;
    }

    /// The path of an entry, relative to the tree, with `/` between its parts.
    pub fn path(&self, node: &Node) -> &[u8] {
        &self.paths[node.start as usize..node.start as usize + usize::from(node.length)]
    }

    /// The path of the entry of this number.
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

    /// Files, and their bytes together.
    pub fn totals(&self) -> (u64, u64) {
        self.nodes
            .iter()
            .filter(|node| node.kind() == NodeKind::File)
            .fold((0, 0), |(files, bytes), node| (files + 1, bytes + node.size))
    }

    /// The numbers of the entries, sorted by what `compare` makes of their paths.
    pub(in crate::core) fn sorted_by(&self, compare: impl Fn(&[u8], &[u8]) -> Ordering) -> Vec<u32> {
        let mut order: Vec<u32> = (0_u32..).take(self.len()).collect();
        order.sort_unstable_by(|one, other| compare(self.path_at(*one), self.path_at(*other)));
        order
    }

    /// The digest of the tree, as 64 hexadecimal digits: BLAKE3 over the entries sorted by path. Two trees have
    /// the same one exactly when paths, kinds, permission bits, bytes and link texts are the same. Inodes,
    /// times, owners and whether files share an inode do not count.
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

/// The order of a walk: by name, each directory before what it holds. (`/` sorts before every byte that a name
/// can have; by plain bytes `a-b` would stand between `a` and `a/c`.)
pub(in crate::core) fn walk_order(one: &[u8], other: &[u8]) -> Ordering {
    let below = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(below).cmp(other.iter().map(below))
}

/// The hash of one entry's bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    shorten(&blake3::hash(bytes))
}

/// The part of a BLAKE3 hash that is kept.
pub(in crate::core) fn shorten(hash: &blake3::Hash) -> Hash {
    let mut short = Hash::default();
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// A relative path of a tree as the operating system takes it.
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
    fn the_digest_is_of_what_is_there_not_of_its_order() {
        let one = tree(&[("a", "1"), ("b", "2")]);
        assert_eq!(one.digest(), tree(&[("b", "2"), ("a", "1")]).digest());
        assert_ne!(one.digest(), tree(&[("a", "2"), ("b", "1")]).digest());
        assert_ne!(one.digest(), tree(&[("a", "1"), ("b", "2"), ("c", "")]).digest());
    }
}
