//! Unpacking of a stream to a directory.

mod decode;
mod directory_tracker;
mod entry_path;
mod extract;
mod extraction;
mod feed;
mod files;
mod hard_links;
mod job;
mod left_out;
mod links;
mod names;
mod options;
mod parse;
mod sparse;
mod stream;
mod texts;
mod writers;

pub use extract::{ExtractSummary, extract, extract_into};
pub use feed::{Feed, Next};
pub use job::{UnpackJob, UnpackOptions, unpack};
pub(in crate::core::archives) use links::leaves_by_text;
pub use options::{Duplicates, Expected, ExtractOptions, Symlinks};
