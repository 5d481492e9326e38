//! Archives: pax tar, compressed in independent frames, and the steps from a stream to a committed target.
//!
//! * [`pack`]: sorted and deterministic. A file that changes while it is being read makes the whole archive fail.
//! * [`unpack`]: strict. It writes into an empty directory, never outside it, and counts what it writes.
//! * [`codec`]: zstd, gzip or no compression, selected by magic bytes.
//! * [`tree`]: content of a tree and its digest, independent of inodes and times.
//! * [`commit`]: stages a tree next to the target, commits it with a method that depends on the mount, and sweeps the
//!   leftovers of dead processes.
//! * `shared_directory`: open directories that other users may also write to, with the check which entries are trusted.
//! * [`pipeline`]: all steps from a stream to a committed target.
//! * [`call`]: deadline of a call, and the gate between its end and its commit.
//!
//! docs/protocol/archive.md describes the layout. A failure of the disk, the archive or another process is a
//! [`crate::core::failure::Failure`] with a cause. The target is then unchanged.

pub mod call;
pub mod codec;
pub mod commit;
mod directory_cache;
mod entry_hasher;
pub mod exclude;
mod format;
mod outcome;
mod pack;
pub mod pipeline;
mod progress;
pub(super) mod shared_directory;
mod sizing;
pub mod tree;
mod unpack;

pub use entry_hasher::EntryHasher;
pub use format::{Limits, Needs};
pub use outcome::UnpackOutcome;
pub use pack::{PackStream, Skipped, Walk, WriteOptions, WriteSummary, pack, walk, write};
pub(super) use pack::{Visitor, facts_of, mode_of, walk_with};
pub use progress::Progress;
pub use unpack::{
    Duplicates, Expected, ExtractOptions, ExtractSummary, Feed, Next, Symlinks, UnpackJob, UnpackOptions,
    extract, extract_into, unpack,
};
