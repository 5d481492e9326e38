//! Why a snapshot ended early.

use crate::core::archives::failure::{Failure as ArchiveFailure, Outcome};
use crate::core::caches::outcome::SnapshotOutcome;
use crate::core::caches::store::Failure;

/// An early end: the outcome and why.
pub(super) struct Stop(pub(super) SnapshotOutcome, pub(super) String);

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self(SnapshotOutcome::from(&failure), failure.message)
    }
}

impl From<ArchiveFailure> for Stop {
    fn from(failure: ArchiveFailure) -> Self {
        let outcome = match failure.outcome {
            Outcome::Corrupt => SnapshotOutcome::Corrupt,
            Outcome::Unstable => SnapshotOutcome::Unstable,
            Outcome::Busy => SnapshotOutcome::Busy,
            Outcome::NoSpace => SnapshotOutcome::NoSpace,
            Outcome::Denied => SnapshotOutcome::Denied,
            Outcome::Timeout => SnapshotOutcome::Timeout,
            Outcome::Aborted => SnapshotOutcome::Aborted,
            Outcome::TooLarge => SnapshotOutcome::TooLarge,
            // Nothing to pack is an empty tree, told apart from a tree that cannot be read.
            _ if failure.error.is_not_found() => SnapshotOutcome::Empty,
            _ => SnapshotOutcome::Error,
        };
        Self(outcome, failure.error.message)
    }
}
