//! Places for cache objects, behind one small trait: S3 and what speaks like it, a folder, memory.
//!
//! Every call takes the [`CallContext`] of the call it serves: it counts what moves, says how long silence may
//! last, and is what the deadline machine reads. A store never retries by itself beyond what the call
//! allows, and never waits without being seen waiting.

mod answer;
mod body;
mod call_context;
mod exchange;
mod failure;
mod file;
mod interface;
mod location;
mod memory;
mod object;
mod part;
mod ranges;
mod redirect;
mod s3;
mod spool;
mod transport;

pub use call_context::CallContext;
pub use failure::StoreResult;
pub(in crate::core::caches) use failure::{InStore, during, of_system};
pub use interface::{MayShow, Store, read_small};
pub use location::{Location, open};
pub use object::{Body, Condition, ObjectMeta, rfc3339};
pub use ranges::{Chunks, PART_BYTES, download};
pub use s3::S3Options;
pub use spool::Spool;
