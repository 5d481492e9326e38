//! A store in a folder: one file an object, written to a temporary file and renamed, so that an object is
//! visible only when it is complete. Conditions are checked under a kernel lock on `.warmswap-writers` in the
//! store's root, which dies with its holder; writers on one machine exclude each other. A temporary file is
//! locked for as long as it is filled: what can be locked is left of a killed writer, and the next one removes
//! it. The root is the caller's own path; below it no link is followed, and nothing of a stranger's is replaced or
//! removed. Reading takes what is there: a blob is proven by its sha256. Our own and not OpenDAL's, whose fs service has no conditional write.

mod entries;
mod folder;
mod write;

pub(in crate::core::caches::store) use folder::Folder;
