//! Stores for cache objects behind one trait: buckets of S3 and compatible services, of Google Cloud Storage and of Azure
//! Blob Storage, a folder, and memory.
//!
//! Every operation receives the [`CallContext`] of its call. The context counts the transferred bytes, contains the
//! idle timeout, and is read by the deadline check. A store never retries more often than the call allows, and every
//! wait for the network is recorded in the context.

mod answer;
#[cfg(feature = "azure")]
mod azure;
mod body;
mod bucket;
mod call_context;
mod client;
mod exchange;
mod failure;
mod file;
#[cfg(feature = "gcs")]
mod gcs;
mod interface;
mod kind;
mod location;
mod memory;
mod object;
mod options;
mod part;
mod prefixed;
mod ranges;
mod redirect;
mod s3;
mod spool;
mod start_line;
mod transport;

#[cfg(feature = "azure")]
pub use azure::AzureOptions;
pub use call_context::CallContext;
pub use failure::StoreResult;
pub(in crate::core::caches) use failure::{InStore, during, of_system};
#[cfg(feature = "gcs")]
pub use gcs::GcsOptions;
pub use interface::{MayShow, Store, read_small};
pub use location::{Location, open};
pub use object::{Body, Condition, ObjectMeta, rfc3339};
pub(in crate::core::caches) use prefixed::Prefixed;
pub use ranges::{Chunks, PART_BYTES, download};
pub use s3::S3Options;
pub use spool::Spool;
pub use start_line::StartLine;
