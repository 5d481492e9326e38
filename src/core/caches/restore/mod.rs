//! Restore: either the complete tree of a key appears at the target, or the target stays unchanged.
//!
//! The steps are: look up the key, then read one version of its object in ranges. The parts are decoded and written
//! next to the target while they arrive. Then verify size, sha256, files, bytes and digest, all of which come from the
//! pointer, never from the stream. Finally commit, unless the call has already ended.

mod call;
mod known;
mod options;
mod pipeline;
mod report;
mod source;

pub use options::RestoreOptions;
pub use report::RestoreReport;
