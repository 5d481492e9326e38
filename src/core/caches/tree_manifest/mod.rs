//! The tree manifest of a target: a record of what was restored or packed there, kept on this machine. With it, a call
//! does not rewrite an unchanged tree, and reads only the files that changed.
//!
//! The file is next to the target, `.warmswap-stamp-<hash of its name>`. If the target is a mount point, it is
//! `.warmswap-stamp` inside it. It is only a hint: one that is missing, damaged or of another version only costs time.
//! It is trusted without reading the files, so one that an untrusted user may have written counts as missing.
//!
//! Its entries are in the order of a walk. Target and manifest are therefore compared entry by entry, whatever their
//! size. docs/protocol/tree-manifest.md describes the layout.

mod manifest;
mod place;
mod reader;
mod record;
mod restored;
mod writer;

pub use manifest::{Scan, TreeManifest, path_of, read, write};
pub use restored::write_restored;
