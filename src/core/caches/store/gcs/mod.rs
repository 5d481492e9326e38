//! Google Cloud Storage.

mod open;
mod options;

pub(in crate::core::caches::store) use open::open;
pub use options::GcsOptions;
