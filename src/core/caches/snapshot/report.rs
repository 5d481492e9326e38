//! How a snapshot ended.

use crate::core::caches::outcome::SnapshotOutcome;

/// How a snapshot ended.
#[derive(Debug, Clone)]
pub struct SnapshotReport {
    /// In one word.
    pub outcome: SnapshotOutcome,
    /// For people.
    pub reason: Option<String>,
    /// The generation that is current as far as this call knows.
    pub generation: Option<String>,
    /// Files in the tree.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub compressed_bytes: u64,
    /// Bytes that were sent.
    pub uploaded_bytes: u64,
    /// What was left out, and why.
    pub skipped: Vec<(String, String)>,
    /// Whether the store tells two writers apart.
    pub guarded: bool,
    /// Milliseconds by stage.
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
