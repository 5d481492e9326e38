//! S3 and what speaks like it, over OpenDAL: signing and the credential chain are OpenDAL's, while time,
//! ranges, retries and conditions are ours (see [`crate::core::caches::store::transport`]).

mod bucket;
mod explain;
mod metadata;
mod options;
mod place;
mod upload;

pub(in crate::core::caches::store) use bucket::S3;
pub use options::S3Options;
