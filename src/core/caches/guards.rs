//! Checks whether a tree may become a generation: it must be neither empty nor much smaller than the current one. A
//! partly filled tree that replaces a full one slows down every later restore (the report was a snapshot right after a
//! clone).

use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::fault;

/// Limits of one snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Minimum number of files.
    pub min_files: u64,
    /// Minimum total bytes of the files.
    pub min_bytes: u64,
    /// Largest share by which files or bytes may be fewer than in the current generation, from 0 to 1.
    pub max_shrink: f64,
    /// Disables `max_shrink`.
    pub allow_shrink: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            min_files: 1,
            min_bytes: 1,
            max_shrink: 0.5,
            allow_shrink: false,
        }
    }
}

/// Size of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Number of files.
    pub files: u64,
    /// Total bytes of the files.
    pub bytes: u64,
}

impl Guard {
    /// Fails if the tree must not become a generation.
    pub fn check(&self, tree: Amount, current: Option<Amount>) -> Result<()> {
        if fault::is_seeded("guard-by-existence") {
            return Ok(());
        }
        if tree.files < self.min_files || tree.bytes < self.min_bytes {
            let reason = format!(
                "the tree has {} files with {} bytes. Expected at least {} files (guard.minFiles) with {} bytes (guard.minBytes)",
                tree.files, tree.bytes, self.min_files, self.min_bytes
            );
            return Err(Failure::new(Cause::Empty, reason));
        }
        let Some(current) = current.filter(|_| !self.allow_shrink) else {
            return Ok(());
        };
        if !self.is_less(tree.files, current.files) && !self.is_less(tree.bytes, current.bytes) {
            return Ok(());
        }
        let reason = format!(
            "the tree has {} files with {} bytes, but the current generation has {} with {}. guard.maxShrink is {}. Set guard.allowShrink to accept the tree",
            tree.files, tree.bytes, current.files, current.bytes, self.max_shrink
        );
        Err(Failure::new(Cause::Shrunk, reason))
    }

    #[expect(clippy::cast_precision_loss, reason = "a share, not a count")]
    fn is_less(&self, now: u64, before: u64) -> bool {
        (now as f64) < (before as f64) * (1.0 - self.max_shrink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(files: u64, bytes: u64) -> Amount {
        Amount { files, bytes }
    }

    #[test]
    fn empty_and_shrunken_trees_are_refused() {
        let guard = Guard::default();
        let outcome = |tree, current| guard.check(tree, current).err().map(|failure| failure.cause);
        assert_eq!(outcome(amount(0, 0), None), Some(Cause::Empty));
        assert_eq!(outcome(amount(1, 0), None), Some(Cause::Empty));
        assert_eq!(outcome(amount(1, 1), None), None);
        assert_eq!(
            outcome(amount(49, 1000), Some(amount(100, 1000))),
            Some(Cause::Shrunk)
        );
        assert_eq!(
            outcome(amount(100, 499), Some(amount(100, 1000))),
            Some(Cause::Shrunk)
        );
        assert_eq!(outcome(amount(50, 500), Some(amount(100, 1000))), None);
        let open = Guard {
            allow_shrink: true,
            ..guard
        };
        assert!(open.check(amount(1, 1), Some(amount(100, 1000))).is_ok());
    }
}
