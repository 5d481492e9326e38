//! What was restored or packed, kept on this machine, so that an unchanged tree is left alone and only files
//! that changed are read again.
//!
//! A file beside the target, `.warmswap-stamp-<hash of its name>`, or `.warmswap-stamp` in it where it is a
//! mount point. It is a hint, never the truth: one that is missing, damaged or of another version only costs
//! time. Layout in docs/protocol.md.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::core::error::{Optional as _, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::dir::{self, Directory};
use crate::core::sys::fs;

use super::archive;
use super::archive::{Skipped, Walk};
use super::exclude::Excludes;
use super::failure;
use super::tree::{Facts, Hash, NodeKind, Tree};

const MAGIC: &[u8; 16] = b"warmswap stamp 1";
/// Kernel clocks for times of files tick every 1 to 10 ms: what changed so shortly before the stamp was taken
/// could change again without a new time (git calls it racily clean).
const TICK_NS: i64 = 20_000_000;
/// A stamp that claims to be larger is not read: 5 million entries have less.
const MAX_BYTES: u64 = 1 << 30;

/// What is known of a target.
#[derive(Debug)]
pub struct Stamp {
    /// The generation that the target holds.
    pub generation: String,
    /// Its entries, with hashes and with what stat said of them.
    pub tree: Tree,
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
    let is_mount = fs::stat(target).optional()?.is_some() && dir::is_mount_root(target)?;
    match (target.parent(), target.file_name()) {
        (Some(parent), Some(name)) if !is_mount => {
            let hash = blake3::hash(name.as_encoded_bytes()).to_hex();
            Ok(parent.join(format!(".warmswap-stamp-{}", &hash[..16])))
        }
        _ => Ok(target.join(".warmswap-stamp")),
    }
}

/// Takes a stamp of a target that was just restored: one stat for each entry of `tree`, which has the hashes.
/// An entry that is not there any more, or is of another kind or size, is left out and so counts as changed.
pub fn write_restored(target: &Path, generation: &str, tree: &Tree, cancel: &Cancel) -> failure::Result<()> {
    let mut found = archive::walk(target, &Excludes::default(), cancel)?.tree;
    if is_fresh(&found) {
        // Later, so that the files restored last are not taken for ones that may still change unseen.
        let pause = std::time::Duration::from_nanos(TICK_NS.unsigned_abs());
        cancel.sleep(pause, crate::core::sys::deadline::Deadline::NEVER);
        found = archive::walk(target, &Excludes::default(), cancel)?.tree;
    }
    let known = index(tree);
    let mut same = vec![false; found.len()];
    for (at, same) in same.iter_mut().enumerate() {
        let node = found.nodes()[at];
        if let Some(restored) = known.get(found.path(&node)).map(|at| tree.nodes()[*at])
            && restored.kind == node.kind
            && (restored.size == node.size)
        {
            found.node_mut(at).hash = restored.hash;
            *same = true;
        }
    }
    found.retain(|at| same[at]);
    Ok(write(target, generation, &found)?)
}

/// Whether an entry changed so shortly before the walk that it could change again without a new time.
fn is_fresh(tree: &Tree) -> bool {
    (0..tree.len()).any(|at| tree.facts(at).changed_ns >= tree.taken_ns - TICK_NS)
}

/// Writes a stamp of a tree whose nodes have hashes and facts, as a pack or a scan leaves it.
pub fn write(target: &Path, generation: &str, tree: &Tree) -> Result<()> {
    let path = path_of(target)?;
    let mut bytes = Vec::with_capacity(64 + tree.len() * 128);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&tree.taken_ns.to_le_bytes());
    put(&mut bytes, generation.as_bytes());
    bytes.extend_from_slice(&(tree.len() as u64).to_le_bytes());
    for (at, node) in tree.nodes().iter().enumerate() {
        let facts = tree.facts(at);
        bytes.push(node.kind as u8);
        bytes.extend_from_slice(&node.mode.to_le_bytes());
        bytes.extend_from_slice(&node.size.to_le_bytes());
        bytes.extend_from_slice(&node.hash);
        bytes.extend_from_slice(&facts.inode.to_le_bytes());
        bytes.extend_from_slice(&facts.modified_ns.to_le_bytes());
        bytes.extend_from_slice(&facts.changed_ns.to_le_bytes());
        put(&mut bytes, tree.path(node));
    }
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    let mut temporary = path.clone().into_os_string();
    temporary.push(format!(".{}", Uuid::new_v4().simple()));
    let temporary = PathBuf::from(temporary);
    fs::replace(&path, &temporary, &bytes, 0o644).inspect_err(|_| {
        // The stamp is a hint; the error that matters is the first one.
        drop(fs::remove_file(&temporary));
    })
}

/// Reads the stamp of a target. One that is missing, damaged or of another version is `None`.
pub fn read(target: &Path) -> Result<Option<Stamp>> {
    let Some(bytes) = fs::read_capped(&path_of(target)?, MAX_BYTES).optional()? else {
        return Ok(None);
    };
    Ok(parse(&bytes))
}

/// Forgets the stamp of a target, before the target is changed by other ways than a commit.
pub fn remove(target: &Path) -> Result<()> {
    fs::remove_file(&path_of(target)?).optional().map(drop)
}

/// Whether the target holds exactly what the stamp says: one stat for each entry, no file is read.
pub fn is_unchanged(
    target: &Path,
    stamp: &Stamp,
    excludes: &Excludes,
    cancel: &Cancel,
) -> failure::Result<bool> {
    let walk = archive::walk(target, excludes, cancel)?;
    Ok(compare(&walk.tree, stamp).iter().all(Option::is_some) && walk.tree.len() == stamp.tree.len())
}

/// Looks at a target: entries whose stat is that of the stamp keep their hash, the others are read.
pub fn scan(
    target: &Path,
    stamp: Option<&Stamp>,
    excludes: &Excludes,
    cancel: &Cancel,
) -> failure::Result<Scan> {
    let Walk {
        mut tree, skipped, ..
    } = archive::walk(target, excludes, cancel)?;
    let hashes = stamp.map_or_else(|| vec![None; tree.len()], |stamp| compare(&tree, stamp));
    let is_unchanged =
        stamp.is_some_and(|stamp| stamp.tree.len() == tree.len()) && hashes.iter().all(Option::is_some);
    let mut reader = archive::Reader::new(Directory::open(target)?);
    let mut read_files = 0;
    for (at, known) in hashes.into_iter().enumerate() {
        cancel.check()?;
        let hash = match known {
            Some(hash) => hash,
            None if tree.nodes()[at].kind == NodeKind::Directory => Hash::default(),
            None => {
                read_files += u64::from(tree.nodes()[at].kind == NodeKind::File);
                reader.hash(&tree, at)?
            }
        };
        tree.node_mut(at).hash = hash;
    }
    Ok(Scan {
        tree,
        read_files,
        skipped,
        is_unchanged,
    })
}

/// The hash of each entry whose stat is that of the stamp.
fn compare(tree: &Tree, stamp: &Stamp) -> Vec<Option<Hash>> {
    let known = index(&stamp.tree);
    let is_same = |at: usize| {
        let node = tree.nodes()[at];
        let before = *known.get(tree.path(&node))?;
        let (was, facts) = (stamp.tree.nodes()[before], stamp.tree.facts(before));
        let same_node = (was.kind, was.mode, was.size) == (node.kind, node.mode, node.size);
        let same_inode = match node.kind {
            // A directory's times change with what is in it, which is compared by itself.
            NodeKind::Directory => true,
            NodeKind::File | NodeKind::Symlink => {
                facts == tree.facts(at) && facts.changed_ns < stamp.tree.taken_ns - TICK_NS
            }
        };
        (same_node && same_inode).then_some(was.hash)
    };
    (0..tree.len()).map(is_same).collect()
}

fn index(tree: &Tree) -> std::collections::HashMap<&[u8], usize> {
    tree.nodes()
        .iter()
        .enumerate()
        .map(|(at, node)| (tree.path(node), at))
        .collect()
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "paths are shorter than 4096 bytes"
    )]
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text);
}

fn parse(bytes: &[u8]) -> Option<Stamp> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body) != blake3::Hash::from_bytes(*sum) {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let taken_ns = i64::from_le_bytes(take(&mut rest)?);
    let generation = std::str::from_utf8(take_text(&mut rest)?).ok()?.to_owned();
    let count = u64::from_le_bytes(take(&mut rest)?);
    let mut tree = Tree::new();
    tree.taken_ns = taken_ns;
    for _ in 0..count {
        let kind = match take::<1>(&mut rest)? {
            [1] => NodeKind::File,
            [2] => NodeKind::Directory,
            [3] => NodeKind::Symlink,
            _ => return None,
        };
        let mode = u16::from_le_bytes(take(&mut rest)?);
        let size = u64::from_le_bytes(take(&mut rest)?);
        let hash = take(&mut rest)?;
        let facts = Facts {
            inode: u64::from_le_bytes(take(&mut rest)?),
            modified_ns: i64::from_le_bytes(take(&mut rest)?),
            changed_ns: i64::from_le_bytes(take(&mut rest)?),
        };
        tree.push(take_text(&mut rest)?, kind, u32::from(mode), size, hash, facts)
            .ok()?;
    }
    Some(Stamp { generation, tree })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_le_bytes(take(rest)?));
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(text)
}
