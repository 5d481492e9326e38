//! S3 and compatible services, through OpenDAL. OpenDAL signs requests and implements the credential chain. warmswap
//! implements timeouts, ranges, retries and conditions (see [`crate::core::caches::store::transport`]).

mod bucket;
mod explain;
mod metadata;
mod options;
mod place;
mod upload;

pub(in crate::core::caches::store) use bucket::S3;
pub use options::S3Options;
