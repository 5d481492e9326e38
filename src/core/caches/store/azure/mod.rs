//! Azure Blob Storage.

mod account;
mod open;
mod options;

pub(in crate::core::caches::store) use open::open;
pub use options::AzureOptions;
