//! The whole way from a stream to a committed target: stage, extract, prove, commit.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::core::archives::commit::{self, CommitMethod, Gate, TargetMode};
use crate::core::archives::tree::Tree;
use crate::core::archives::{self, ExtractOptions, Skipped};
use crate::core::failure::{Failure, Result, Stage};
use crate::core::sys::clock;
use crate::core::sys::workers::{self, Class};

/// What an unpack did.
#[derive(Debug)]
pub struct Unpacked {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes read from the source.
    pub compressed_bytes: u64,
    /// Entries that the target had already ('merge').
    pub kept: u64,
    /// Pipes and devices of the archive, which are not made.
    pub skipped: Vec<Skipped>,
    /// How it was committed.
    pub method: CommitMethod,
    /// Milliseconds until the tree was staged and proved.
    pub unpack_ms: f64,
    /// Milliseconds of the commit.
    pub commit_ms: f64,
}

/// A tree that is at its target now.
#[derive(Debug)]
pub struct Placed {
    /// The target, with the links at the end of the caller's path followed.
    pub target: PathBuf,
    /// All entries; with hashes if [`ExtractOptions::hash`] asked for them.
    pub tree: Tree,
    /// A moment right before the commit, nanoseconds since the epoch.
    pub committed_ns: i64,
}

/// Where the tree of a stream goes, and under which conditions.
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'a> {
    /// The target.
    pub target: &'a Path,
    /// What may happen to a target that is not empty.
    pub mode: TargetMode,
    /// How to extract.
    pub options: &'a ExtractOptions,
    /// Decides whether the commit still happens.
    pub gate: &'a Gate,
}

impl Replacement<'_> {
    /// Runs on a thread that may block. `prove` gets the source once the tree is staged: what it refuses is not
    /// committed. `afterwards` runs when the caller has its answer already, before the old tree is removed.
    pub fn run<S: Read + Send>(
        self,
        mut source: S,
        prove: impl FnOnce(S) -> Result<()>,
        afterwards: impl FnOnce(Placed) + Send + 'static,
    ) -> Result<Unpacked> {
        let started = Instant::now();
        let stage = commit::StagedTree::beside(self.target, self.mode).map_err(during(Stage::Write))?;
        let tree = stage.open().map_err(during(Stage::Write))?;
        let extracted =
            archives::extract_into(&mut source, tree, stage.path(), self.options).map_err(|failure| {
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
        // Removing the old tree can take longer than all the rest.
        workers::detach(Class::Long, self.target, move || {
            afterwards(placed);
            drop(committed.leftovers);
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

/// A system call that failed was one of writing; the source's own errors name the archive.
fn stage_of(failure: &Failure) -> Stage {
    match failure.error.op {
        Some(op) if op != "read" => Stage::Write,
        _ => Stage::Decode,
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
