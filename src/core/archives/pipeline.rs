//! The whole way from a stream to a committed target, under one deadline.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::core::error::{Code, Error};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

use crate::core::archives::commit::COMMIT_GRACE;
use crate::core::archives::commit::{CommitWay, Gate, Mode, Stage};
use crate::core::archives::failure::{Failure, Result};
use crate::core::archives::{self, ExtractOptions};
use crate::core::sys::workers::{self, Class};

/// Which part of an unpack failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the source, decompressing, parsing.
    Decode,
    /// Making the stage and writing files.
    Write,
    /// Putting the tree in its place.
    Commit,
}

impl Step {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Write => "write",
            Self::Commit => "commit",
        }
    }
}

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
    /// How it was committed.
    pub way: CommitWay,
    /// Milliseconds until the tree was staged and verified, and of the commit.
    pub unpack_ms: f64,
    /// Milliseconds of the commit.
    pub commit_ms: f64,
}

/// Where it failed, and why.
pub type Stopped = (Step, Failure);

/// Unpacks, on a thread that may block. `gate` decides whether the commit still happens.
pub fn unpack(
    source: impl Read + Send,
    target: &std::path::Path,
    mode: Mode,
    options: &ExtractOptions,
    gate: &Gate,
) -> std::result::Result<Unpacked, Stopped> {
    let started = Instant::now();
    let stage = Stage::beside(target, mode).map_err(|failure| (Step::Write, failure))?;
    let tree = stage.open().map_err(|failure| (Step::Write, failure))?;
    let extracted = archives::extract_into(source, tree, stage.path(), options)
        .map_err(|failure| (step_of(&failure), failure))?;
    let unpack_ms = milliseconds(started);
    let committing = Instant::now();
    let committed = stage.commit(gate).map_err(|failure| (Step::Commit, failure))?;
    let commit_ms = milliseconds(committing);
    // Removing the old tree can take longer than all the rest.
    workers::detach(Class::Long, target, move || drop(committed.leftovers));
    Ok(Unpacked {
        files: extracted.files,
        bytes: extracted.bytes,
        compressed_bytes: extracted.compressed_bytes,
        kept: committed.kept,
        way: committed.way,
        unpack_ms,
        commit_ms,
    })
}

/// A system call that failed was one of writing; the source's own errors name the archive.
fn step_of(failure: &Failure) -> Step {
    match failure.error.op {
        Some(op) if op != "read" => Step::Write,
        _ => Step::Decode,
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Runs [`unpack`] on a thread that may block, with the source that `open` gives and its size, if that is known, and settles when the deadline passes
/// or `options.cancel` is raised, whatever that thread is doing: it is barred from committing and stops soon.
/// `places` are the files that `open` reads.
pub async fn unpack_within<S: Read + Send + 'static>(
    places: Vec<PathBuf>,
    open: impl FnOnce() -> Result<(S, Option<u64>)> + Send + 'static,
    target: PathBuf,
    mode: Mode,
    options: ExtractOptions,
    deadline: Deadline,
) -> std::result::Result<Unpacked, Stopped> {
    let gate = Arc::new(Gate::new());
    let cancel = options.cancel.clone();
    let stop = Cancel::new();
    let inner = ExtractOptions {
        cancel: stop.clone(),
        ..options
    };
    let for_work = Arc::clone(&gate);
    let places = places.into_iter().chain([target.clone()]).collect();
    let mut work = Box::pin(
        workers::start(Class::Long, places, move || {
            open()
                .map_err(|failure| (Step::Decode, failure))
                .and_then(|(source, compressed_bytes)| {
                    let options = ExtractOptions {
                        compressed_bytes,
                        ..inner
                    };
                    unpack(source, &target, mode, &options, &for_work)
                })
        })
        .wait(),
    );
    let over = tokio::select! {
        done = &mut work => return finished(done),
        () = passed(deadline) => Error::new(Code::Timeout, "the deadline passed"),
        () = cancel.cancelled() => Cancel::error(),
    };
    stop.cancel();
    if gate.close() {
        return Err((Step::Write, over.into()));
    }
    // The commit has begun, so what it did is the answer, unless a stalled disk keeps it.
    let left = deadline
        .remaining()
        .unwrap_or(std::time::Duration::MAX)
        .saturating_add(COMMIT_GRACE);
    match tokio::time::timeout(left, work).await {
        Ok(done) => finished(done),
        Err(_) => Err((
            Step::Commit,
            Error::new(
                Code::Timeout,
                "the commit began in time and is still running: it will be seen in full or not at all",
            )
            .into(),
        )),
    }
}

async fn passed(deadline: Deadline) {
    match deadline.instant() {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn finished(
    done: crate::core::error::Result<std::result::Result<Unpacked, Stopped>>,
) -> std::result::Result<Unpacked, Stopped> {
    done.unwrap_or_else(|error| Err((Step::Write, error.into())))
}
