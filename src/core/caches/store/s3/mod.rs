//! S3 and what speaks like it.

mod bucket;

pub(in crate::core::caches::store) use bucket::S3;
pub use bucket::S3Options;
