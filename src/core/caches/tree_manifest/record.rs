//! What a tree manifest says of one entry.

use crate::core::archives::tree::{Facts, NodeKind};
use crate::core::archives::{self};
use crate::core::sys::fs::Stat;

/// Starts a tree manifest; with its version.
pub(super) const MAGIC: &[u8; 16] = b"warmswap stamp 2";
/// Stands where the kind of an entry would.
pub(super) const END: u8 = 0;
/// A million entries are 80 MB: they are read and written in pieces.
pub(super) const BUFFER_BYTES: usize = 256 << 10;
/// Kernel clocks for times of files tick every 1 to 10 ms: what changed so shortly before the tree manifest was begun
/// could change again without a new time (git calls it racily clean).
pub(super) const TICK_NS: i64 = 20_000_000;

/// What a tree manifest says of one entry.
pub(super) struct Record<'a> {
    pub(super) path: &'a [u8],
    pub(super) kind: NodeKind,
    pub(super) mode: u16,
    pub(super) size: u64,
    pub(super) facts: Facts,
}

impl Record<'_> {
    /// Whether the bytes are still those that the tree manifest has the hash of.
    pub(super) fn is_trusted(&self, now: Facts, taken_ns: i64) -> bool {
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
