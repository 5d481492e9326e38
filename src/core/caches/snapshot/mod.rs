//! Snapshot: a tree becomes the next generation of a key, or nothing happens.
//!
//! Packed into a nameless local file first: its hash names the blob, and an empty, shrunken or unchanged tree
//! costs no traffic. Then the blob (immutable), then read back, then the pointer by compare-and-swap against
//! what was seen at the start, or by the ticket of the restore that this snapshot builds on. A reader sees the
//! old generation or the new one; a writer that lost learns it.

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
