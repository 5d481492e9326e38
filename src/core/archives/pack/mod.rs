//! Packing of a directory to a stream.

mod frames;
mod options;
mod output;
mod plan;
mod scan_result;
mod source;
mod stream;
mod tail;
mod walk;
mod write;

pub use options::WriteOptions;
pub use stream::{PackStream, pack};
pub use walk::{Skipped, Walk, walk};
pub(in crate::core) use walk::{Visitor, facts_of, mode_of, walk_with};
pub use write::{WriteSummary, write};
