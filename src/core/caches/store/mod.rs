//! Places for cache objects, behind one small trait: S3 and what speaks like it, a folder, memory.
//!
//! Every call takes the [`Meter`] of the call it serves: it counts what moves, says how long silence may
//! last, and is what the deadline machine reads. A store never retries by itself beyond what the meter
//! allows, and never waits without being seen waiting.

mod body;
mod call_context;
mod failure;
mod file;
mod interface;
mod location;
mod memory;
mod part;
mod ranges;
mod redirect;
mod s3;
mod transport;

pub use call_context::Meter;
pub use failure::{Failure, Kind};
use interface::unshown;
pub use interface::{Answer, Body, Condition, Listed, MayShow, Spool, Store, read_small, rfc3339};
pub use location::{Location, open};
pub use memory::now_ms;
pub use ranges::{Chunks, PART_BYTES, download};
pub use s3::S3Options;
