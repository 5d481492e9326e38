//! Archives: pax tar, compressed in independent frames; and the way of a tree from a stream to its place.
//!
//! * [`pack`]: sorted and deterministic; a file that changes while it is read fails the whole archive.
//! * [`unpack`]: strict; into an empty directory, never outside of it, counted while it is written.
//! * [`codec`]: zstd, gzip or neither, told apart by magic bytes.
//! * [`tree`]: what a tree holds, whatever its inodes and times; its digest.
//! * [`commit`]: stage next to the target, then one step that fits its mount; sweep of what dead processes left.
//! * `shared_directory`: open directories that other users may write to as well, and whose entries count there.
//! * [`pipeline`]: the whole way from a stream to a committed target.
//! * [`call`]: its deadline, and the gate between its end and its commit.
//!
//! The layout is in docs/protocol/archive.md under 'Caches'. A failure of the disk, the archive or another process is a
//! [`crate::core::failure::Failure`] with a cause; the target is then as it was.

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
