//! All steps from a stream to a committed target: stage, extract, verify, commit.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::core::archives::commit::{self, CommitMethod, Gate, TargetMode};
use crate::core::archives::tree::Tree;
use crate::core::archives::{self, ExtractOptions, Skipped};
use crate::core::failure::{Failure, Result, Stage};
use crate::core::sys::clock;
use crate::core::sys::workers::{self, Class};

/// Result of an unpack.
#[derive(Debug)]
pub struct Unpacked {
    /// Number of regular files.
    pub files: u64,
    /// Total bytes of the files.
    pub bytes: u64,
    /// Bytes read from the source.
    pub compressed_bytes: u64,
    /// Entries that the target already had ('merge').
    pub kept: u64,
    /// Pipes and devices of the archive, which are not created.
    pub skipped: Vec<Skipped>,
    /// Method of the commit.
    pub method: CommitMethod,
    /// Milliseconds until the tree was staged and verified.
    pub unpack_ms: f64,
    /// Milliseconds of the commit.
    pub commit_ms: f64,
}

/// A tree that is at its target.
#[derive(Debug)]
pub struct Placed {
    /// Path of the target, after following the links at its end.
    pub target: PathBuf,
    /// All entries, with hashes if [`ExtractOptions::hash`] is set.
    pub tree: Tree,
    /// Time right before the commit, in nanoseconds since the epoch.
    pub committed_ns: i64,
}

/// Target of a tree, and the conditions of the commit.
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'a> {
    /// Path of the target.
    pub target: &'a Path,
    /// How a target that already contains entries is treated.
    pub mode: TargetMode,
    /// Options of the extraction.
    pub options: &'a ExtractOptions,
    /// Decides whether the commit may still happen.
    pub gate: &'a Gate,
}

impl Replacement<'_> {
    /// Runs all steps, on a thread that may block. `prove` receives the source after the tree was staged, and its error
    /// prevents the commit. `afterwards` runs after the caller has its result, before the old tree is removed. Its result
    /// is dropped after that.
    pub fn run<S: Read + Send, T>(
        self,
        mut source: S,
        prove: impl FnOnce(S) -> Result<()>,
        afterwards: impl FnOnce(Placed) -> T + Send + 'static,
    ) -> Result<Unpacked> {
        let started = Instant::now();
        let stage = commit::StagedTree::beside(self.target, self.mode).map_err(during(Stage::Write))?;
        let tree = stage.open().map_err(during(Stage::Write))?;
        let extracted = archives::extract_into(
            &mut source,
            tree,
            stage.path(),
            Some(stage.target()),
            self.options,
        )
        .map_err(|failure| {
            let stage = stage_of(&failure);
            failure.during(stage)
        })?;
        prove(source)?;
        let unpack_ms = milliseconds(started);
        let committing = Instant::now();
        let placed = Placed {
            target: stage.target().to_path_buf(),
            tree: extracted.tree,
            committed_ns: clock::wall_nanos(),
        };
        let committed = stage.commit(self.gate).map_err(during(Stage::Commit))?;
        let commit_ms = milliseconds(committing);
        // Removing the old tree can take longer than all other steps.
        workers::detach(Class::Long, self.target, move || {
            let until_removed = afterwards(placed);
            drop(committed.leftovers);
            drop(until_removed);
        });
        Ok(Unpacked {
            files: extracted.files,
            bytes: extracted.bytes,
            compressed_bytes: extracted.compressed_bytes,
            kept: committed.kept,
            skipped: extracted.skipped,
            method: committed.method,
            unpack_ms,
            commit_ms,
        })
    }
}

fn during(stage: Stage) -> impl FnOnce(Failure) -> Failure {
    move |failure| failure.during(stage)
}

/// A failed system call was a write. Errors of the source name the archive.
fn stage_of(failure: &Failure) -> Stage {
    match failure.error.op {
        Some(op) if op != "read" => Stage::Write,
        _ => Stage::Decode,
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
