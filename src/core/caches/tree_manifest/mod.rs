//! The tree manifest of a target: what was restored or packed there, kept on this machine. With it a call leaves an
//! unchanged tree alone, and reads only the files that changed.
//!
//! The file is next to the target, `.warmswap-stamp-<hash of its name>`, or `.warmswap-stamp` in it where the target is
//! a mount point. It is a hint, never the truth: one that is missing, damaged or of another version only costs time. It
//! is believed without reading the files, so one that a stranger may have written counts as missing.
//!
//! Its entries are in the order of a walk, so that target and manifest are compared entry by entry, whatever their size.
//! Layout in docs/protocol/tree-manifest.md.

mod manifest;
mod place;
mod reader;
mod record;
mod restored;
mod writer;

pub use manifest::{Scan, TreeManifest, path_of, read, write};
pub use restored::write_restored;
