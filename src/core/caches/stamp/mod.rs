//! What was restored or packed, kept on this machine, so that an unchanged tree is left alone and only files
//! that changed are read again.
//!
//! A file next to the target, `.warmswap-stamp-<hash of its name>`, or `.warmswap-stamp` in it where it is a
//! mount point. It is a hint, never the truth: one that is missing, damaged or of another version only costs
//! time. It is believed without reading the files, so one that a stranger may have written counts as missing. Its entries are in the order of a walk, so that target and stamp are compared as both go by, whatever
//! their size. Layout in docs/protocol.md.

mod manifest;
mod place;
mod reader;
mod record;
mod restored;
mod writer;

pub use manifest::{Scan, Stamp, path_of, read, write};
pub use restored::write_restored;
