//! A bucket of S3, Google Cloud Storage or Azure Blob Storage, through OpenDAL. OpenDAL signs requests and implements the
//! credential chains. warmswap implements timeouts, ranges, retries and conditions (see
//! [`crate::core::caches::store::transport`]).

#[expect(clippy::module_inception, reason = "the type that the module is named after")]
mod bucket;
mod explain;
mod store;
mod upload;
mod versions;

pub(super) use bucket::{Bucket, CREDENTIALS, Place};
