//! Archives: pax tar, compressed in independent frames.
//!
//! * [`write`]: sorted and deterministic; a file that changes while it is read fails the whole archive.
//! * [`extract`]: strict; into an empty directory, never outside of it, counted while it is written.
//!
//! The layout is in docs/protocol.md under 'Caches'.

use std::sync::atomic::{AtomicU64, Ordering};

mod directories;
mod extract;
mod files;
mod frames;
mod hard_links;
mod hash;
pub(super) mod header;
mod limits;
mod links;
mod pax;
mod read;
mod reading;
mod sparse;
mod tail;
mod texts;
mod walk;
mod write;

pub use extract::{Expected, ExtractOptions, ExtractSummary, Symlinks, extract, extract_into};
pub use hash::Reader;
pub use limits::{Limits, Needs};
pub use walk::{Skipped, Walk, walk};
pub(super) use walk::{Visit, facts_of, mode_of, now_ns, visit};
pub use write::{WriteOptions, WriteSummary, write};

/// Bytes of a tar block.
const BLOCK: usize = 512;
/// Files above this are streamed by the thread that reads or writes the archive; those below travel in batches.
const LARGE_FILE: u64 = 1 << 20;

/// How far a call has come; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Files, and their bytes, so far.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.files.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes up to the next block boundary.
fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// Threads that this process may use at once.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
