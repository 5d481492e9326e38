//! Stores for cache objects behind one trait: S3 and compatible services, a folder, and memory.
//!
//! Every operation receives the [`CallContext`] of its call. The context counts the transferred bytes, contains the
//! idle timeout, and is read by the deadline check. A store never retries more often than the call allows, and every
//! wait for the network is recorded in the context.

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
mod prefixed;
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
pub(in crate::core::caches) use prefixed::Prefixed;
pub use ranges::{Chunks, PART_BYTES, download};
pub use s3::S3Options;
pub use spool::Spool;
