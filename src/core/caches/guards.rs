//! What may become a generation: not nothing, and not a fraction of what is there. A half-warm tree that
//! replaces a full one costs every later wake-up (the seed snapshotted right after the clone).

use super::outcome::SnapshotOutcome;
use crate::core::sys::fault;

/// The limits of one snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Fewest files.
    pub min_files: u64,
    /// Fewest bytes of the files.
    pub min_bytes: u64,
    /// Largest part of files or bytes that may be missing against the current generation, 0 to 1.
    pub max_shrink: f64,
    /// Lets a tree shrink as it likes.
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

/// How much a tree holds.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Guard {
    /// Why a tree may not become a generation, if so.
    pub fn refuse(&self, tree: Amount, current: Option<Amount>) -> Option<(SnapshotOutcome, String)> {
        if fault::mutant("guard-by-existence") {
            return None;
        }
        if tree.files < self.min_files || tree.bytes < self.min_bytes {
            let reason = format!(
                "{} files with {} bytes; guard.minFiles is {}, guard.minBytes {}",
                tree.files, tree.bytes, self.min_files, self.min_bytes
            );
            return Some((SnapshotOutcome::Empty, reason));
        }
        let current = current.filter(|_| !self.allow_shrink)?;
        let has_shrunk = self.is_less(tree.files, current.files) || self.is_less(tree.bytes, current.bytes);
        has_shrunk.then(|| {
            let reason = format!(
                "{} files with {} bytes, the current generation has {} with {}; guard.maxShrink is {}, guard.allowShrink lets it through",
                tree.files, tree.bytes, current.files, current.bytes, self.max_shrink
            );
            (SnapshotOutcome::Shrunk, reason)
        })
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
    fn nothing_and_a_fraction_are_refused() {
        let guard = Guard::default();
        let outcome = |tree, current| guard.refuse(tree, current).map(|(outcome, _)| outcome);
        assert_eq!(outcome(amount(0, 0), None), Some(SnapshotOutcome::Empty));
        assert_eq!(outcome(amount(1, 0), None), Some(SnapshotOutcome::Empty));
        assert_eq!(outcome(amount(1, 1), None), None);
        assert_eq!(
            outcome(amount(49, 1000), Some(amount(100, 1000))),
            Some(SnapshotOutcome::Shrunk)
        );
        assert_eq!(
            outcome(amount(100, 499), Some(amount(100, 1000))),
            Some(SnapshotOutcome::Shrunk)
        );
        assert_eq!(outcome(amount(50, 500), Some(amount(100, 1000))), None);
        let open = Guard {
            allow_shrink: true,
            ..guard
        };
        assert!(open.refuse(amount(1, 1), Some(amount(100, 1000))).is_none());
    }
}
