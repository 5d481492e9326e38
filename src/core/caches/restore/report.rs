//! Result of a restore.

use crate::core::archives::Skipped;
use crate::core::caches::outcome::RestoreOutcome;
use crate::core::failure::Stage;

/// Result of a restore.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// Outcome.
    pub outcome: RestoreOutcome,
    /// Human-readable reason, if the call failed.
    pub reason: Option<String>,
    /// Key that was restored.
    pub key: Option<String>,
    /// Trust level that it was restored from, in a cache with trust levels.
    pub level: Option<String>,
    /// Generation that was restored.
    pub generation: Option<String>,
    /// Stage in which the call failed.
    pub stage: Option<Stage>,
    /// Number of files in the tree.
    pub files: u64,
    /// Total bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub compressed_bytes: u64,
    /// Files that already existed and were kept, in mode 'merge'.
    pub skipped_files: u64,
    /// Pipes and devices of the archive, which are not created.
    pub skipped: Vec<Skipped>,
    /// Number of repeated requests.
    pub retries: u32,
    /// How the target was changed: 'rename', 'exchange', 'children' or 'merge'.
    pub commit: Option<&'static str>,
    /// Milliseconds of each stage.
    pub timings: Vec<(&'static str, f64)>,
    /// Ticket for a later snapshot of the same key.
    pub ticket: Option<String>,
}

impl RestoreReport {
    pub(super) fn new(outcome: RestoreOutcome) -> Self {
        Self {
            outcome,
            reason: None,
            key: None,
            level: None,
            generation: None,
            stage: None,
            files: 0,
            bytes: 0,
            compressed_bytes: 0,
            skipped_files: 0,
            skipped: Vec::new(),
            retries: 0,
            commit: None,
            timings: Vec::new(),
            ticket: None,
        }
    }
}
