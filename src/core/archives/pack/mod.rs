//! From a directory to a stream.

pub(in crate::core::archives) mod frames;
pub(in crate::core::archives) mod source;
pub(in crate::core::archives) mod tail;
pub(in crate::core::archives) mod walk;
pub(in crate::core::archives) mod write;

pub use walk::{Skipped, Walk, walk};
pub(in crate::core) use walk::{Visit, facts_of, mode_of, now_ns, visit};
pub use write::{WriteOptions, WriteSummary, write};
