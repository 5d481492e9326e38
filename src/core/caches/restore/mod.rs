//! Restore: a key's tree appears at the target in full, or the target stays as it was.
//!
//! Lookup, then ranged reads of one version, decoded and written beside the target while they arrive, then the
//! proof (size, sha256, files, bytes, digest: all from the pointer, none from the stream), then the commit, if
//! the call has not settled by then.

mod call;
mod known;
mod options;
mod pipeline;
mod report;
mod source;

pub use options::RestoreOptions;
pub use report::RestoreReport;
