//! Restore: a key's tree appears at the target in full, or the target stays as it was.

mod call;
mod pipeline;

pub use call::{RestoreOptions, RestoreReport};
