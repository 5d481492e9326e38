//! From a stream to a directory.

pub(in crate::core::archives) mod extract;
pub(in crate::core::archives) mod hard_links;
pub(in crate::core::archives) mod links;
pub(in crate::core::archives) mod parse;
pub(in crate::core::archives) mod writers;

pub use extract::{Expected, ExtractOptions, ExtractSummary, Symlinks, extract, extract_into};
