//! The whole way from a stream to a committed target, under one deadline.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::core::error::{Code, Error};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

use crate::core::archives::commit::COMMIT_GRACE;
use crate::core::archives::commit::{self, CommitWay, Gate, Mode};
use crate::core::archives::{self, ExtractOptions};
use crate::core::failure::{Cause, Failure, Result, Stage};
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
    /// How it was committed.
    pub way: CommitWay,
    /// Milliseconds until the tree was staged and verified, and of the commit.
    pub unpack_ms: f64,
    /// Milliseconds of the commit.
    pub commit_ms: f64,
}

/// Unpacks, on a thread that may block. `gate` decides whether the commit still happens.
pub fn unpack(
    source: impl Read + Send,
    target: &std::path::Path,
    mode: Mode,
    options: &ExtractOptions,
    gate: &Gate,
) -> Result<Unpacked> {
    let started = Instant::now();
    let stage = commit::Stage::beside(target, mode).map_err(|failure| failure.during(Stage::Write))?;
    let tree = stage.open().map_err(|failure| failure.during(Stage::Write))?;
    let extracted = archives::extract_into(source, tree, stage.path(), options).map_err(|failure| {
        let stage = stage_of(&failure);
        failure.during(stage)
    })?;
    let unpack_ms = milliseconds(started);
    let committing = Instant::now();
    let committed = stage
        .commit(gate)
        .map_err(|failure| failure.during(Stage::Commit))?;
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
fn stage_of(failure: &Failure) -> Stage {
    match failure.error.op {
        Some(op) if op != "read" => Stage::Write,
        _ => Stage::Decode,
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
) -> Result<Unpacked> {
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
                .map_err(|failure| failure.during(Stage::Decode))
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
        return Err(Failure::from(over).during(Stage::Write));
    }
    // The commit has begun, so what it did is the answer, unless a stalled disk keeps it.
    let left = deadline
        .remaining()
        .unwrap_or(std::time::Duration::MAX)
        .saturating_add(COMMIT_GRACE);
    match tokio::time::timeout(left, work).await {
        Ok(done) => finished(done),
        Err(_) => Err(Failure::new(
            Cause::Timeout,
            "the commit began in time and is still running: it will be seen in full or not at all",
        )
        .during(Stage::Commit)),
    }
}

async fn passed(deadline: Deadline) {
    match deadline.instant() {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn finished(done: crate::core::error::Result<Result<Unpacked>>) -> Result<Unpacked> {
    done.unwrap_or_else(|error| Err(Failure::from(error).during(Stage::Write)))
}
