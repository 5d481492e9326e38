//! Result of a snapshot.

use crate::core::caches::outcome::SnapshotOutcome;

/// Result of a snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotReport {
    /// Outcome.
    pub outcome: SnapshotOutcome,
    /// Human-readable reason, if there is one.
    pub reason: Option<String>,
    /// Current generation, as far as this call knows.
    pub generation: Option<String>,
    /// Number of files in the tree.
    pub files: u64,
    /// Total bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub compressed_bytes: u64,
    /// Bytes that were uploaded.
    pub uploaded_bytes: u64,
    /// Entries that were not packed: path and reason of each.
    pub skipped: Vec<(String, String)>,
    /// Whether the write was protected against concurrent writers.
    pub guarded: bool,
    /// Milliseconds of each stage.
    pub timings: Vec<(&'static str, f64)>,
}

impl SnapshotReport {
    pub(super) fn new(outcome: SnapshotOutcome) -> Self {
        Self {
            outcome,
            reason: None,
            generation: None,
            files: 0,
            bytes: 0,
            compressed_bytes: 0,
            uploaded_bytes: 0,
            skipped: Vec::new(),
            guarded: true,
            timings: Vec::new(),
        }
    }
}
