//! How a restore ended.

use crate::core::archives::Skipped;
use crate::core::caches::outcome::RestoreOutcome;
use crate::core::failure::Stage;

/// How a restore ended.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// In one word.
    pub outcome: RestoreOutcome,
    /// For people.
    pub reason: Option<String>,
    /// Which of the keys.
    pub key: Option<String>,
    /// Which generation.
    pub generation: Option<String>,
    /// What was being done when it failed.
    pub stage: Option<Stage>,
    /// Files in the tree.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub compressed_bytes: u64,
    /// Files that were there already and stay, in mode merge.
    pub skipped_files: u64,
    /// Pipes and devices of the archive, which are not made.
    pub skipped: Vec<Skipped>,
    /// Requests that were repeated.
    pub retries: u32,
    /// How it was committed.
    pub commit: Option<&'static str>,
    /// Milliseconds by stage.
    pub timings: Vec<(&'static str, f64)>,
    /// For the snapshot that builds on it.
    pub ticket: Option<String>,
}

impl RestoreReport {
    pub(super) fn new(outcome: RestoreOutcome) -> Self {
        Self {
            outcome,
            reason: None,
            key: None,
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
