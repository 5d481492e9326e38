//! Snapshot: a tree becomes the next generation of a key, or nothing changes.
//!
//! The tree is first packed into an unnamed local file. The hash of the file names the blob, and an empty, shrunken or
//! unchanged tree causes no upload. Then the immutable blob is uploaded and read back. The pointer is written last, by
//! a compare-and-swap against the version that was read at the start, or that the ticket of a restore names. A reader
//! sees either the old generation or the new one. A writer that lost the race gets 'superseded'.

mod blob;
mod call;
mod options;
mod pack_job;
mod quiet;
mod report;
mod upload;

pub(in crate::core::caches) use blob::UploadedTree;
pub use options::{PackOptions, SnapshotOptions};
pub use report::SnapshotReport;
