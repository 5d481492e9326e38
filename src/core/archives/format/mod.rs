//! The tar format: blocks, headers, pax records, and the limits of a reader.

mod block;
pub(in crate::core::archives) mod header;
pub(in crate::core::archives) mod limits;
pub(in crate::core::archives) mod pax;

pub(in crate::core::archives) use block::{BLOCK, padding};
pub use limits::{Limits, Needs};
