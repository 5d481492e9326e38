//! A store in a folder, with one file for each object. An object is written to a temporary file and renamed, so it is
//! visible only when it is complete.
//!
//! Conditions are checked under a kernel lock on `.warmswap-writers` in the store's root. The lock excludes all writers
//! on this machine, and ends with its holder. A temporary file is locked while it is being filled. One that can be
//! locked is the leftover of a killed writer, and the next writer removes it.
//!
//! The root is the caller's own path. Below it no link is followed, and no entry of an untrusted user is replaced or
//! removed. Reading does not depend on trust, because the sha256 proves a blob. OpenDAL's fs service is not used,
//! because it has no conditional write.

mod entries;
mod folder;
mod write;

pub(in crate::core::caches::store) use folder::Folder;
