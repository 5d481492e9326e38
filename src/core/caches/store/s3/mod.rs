//! S3 and compatible services.

mod open;
mod options;

pub(in crate::core::caches::store) use open::open;
pub use options::S3Options;
