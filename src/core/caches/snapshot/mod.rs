//! Snapshot: a tree becomes the next generation of a key, or nothing happens.

mod call;
mod pack_job;
mod quiet;

pub use call::{SnapshotOptions, SnapshotReport};
pub use pack_job::Packing;
pub(in crate::core::caches) use pack_job::follow;
