//! Entries of a tree manifest.

use crate::core::archives::tree::{Facts, NodeKind};
use crate::core::archives::{self};
use crate::core::sys::fs::Stat;

/// Start of a tree manifest, with its version.
pub(super) const MAGIC: &[u8; 16] = b"warmswap stamp 2";
/// Marks the end of the entries, in place of the kind of an entry.
pub(super) const END: u8 = 0;
/// Size of the buffer. A million entries have 80 MB, so they are read and written in pieces.
pub(super) const BUFFER_BYTES: usize = 256 << 10;
/// Duration in which a change can be invisible. Kernel clocks for file times tick every 1 to 10 ms. A file that changed
/// within this time before the tree manifest was begun could change again with the same time (git calls it racily
/// clean).
pub(super) const TICK_NS: i64 = 20_000_000;

/// One entry of a tree manifest.
pub(super) struct Record<'a> {
    pub(super) path: &'a [u8],
    pub(super) kind: NodeKind,
    pub(super) mode: u16,
    pub(super) size: u64,
    pub(super) facts: Facts,
}

impl Record<'_> {
    /// Whether the bytes still match the hash in the tree manifest.
    pub(super) fn is_trusted(&self, now: Facts, taken_ns: i64) -> bool {
        match self.kind {
            // The times of a directory change with its entries, which are compared separately.
            NodeKind::Directory => true,
            NodeKind::File | NodeKind::Symlink => {
                self.facts == now && self.facts.changed_ns < taken_ns - TICK_NS
            }
        }
    }
}

impl<'a> Record<'a> {
    pub(super) fn found(path: &'a [u8], kind: NodeKind, stat: &Stat) -> Self {
        Self {
            path,
            kind,
            mode: (archives::mode_of(kind, stat) & 0o777) as u16,
            size: if kind == NodeKind::Directory { 0 } else { stat.size },
            facts: archives::facts_of(stat),
        }
    }
}
