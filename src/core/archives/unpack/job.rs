//! One unpack from a file or from pushed bytes, under one deadline.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use crate::core::archives::call::Call;
use crate::core::archives::commit::TargetMode;
use crate::core::archives::pipeline::{Replacement, Unpacked};
use crate::core::archives::unpack::feed::{Feed, FeedReader, feed};
use crate::core::archives::unpack::options::{Duplicates, ExtractOptions, Symlinks};
use crate::core::archives::{Limits, Progress};
use crate::core::failure::{Cause, Failure, Result, Stage};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::workers::{self, Class};

/// How to unpack.
#[derive(Debug, Clone, Copy)]
pub struct UnpackOptions {
    /// What may happen to a target that is not empty.
    pub mode: TargetMode,
    /// Which symbolic links are made.
    pub symlinks: Symlinks,
    /// What happens to a path that the archive has twice.
    pub duplicates: Duplicates,
    /// Size of the archive as its sender declared it.
    pub declared_bytes: Option<u64>,
    /// What is accepted at most.
    pub limits: Limits,
    /// The end of the call.
    pub deadline: Deadline,
}

/// A running unpack.
#[derive(Debug, Clone)]
pub struct UnpackJob {
    /// Where the bytes are pushed to, if they do not come from a file.
    pub feed: Feed,
    /// Counted while it happens.
    pub progress: Arc<Progress>,
    /// Raised to stop.
    pub cancel: Cancel,
}

/// Unpacks an archive to a target: from the file `source`, or else from the bytes that are pushed to the job's feed. The
/// future runs it; it settles when the deadline passes or the job is cancelled, whatever the disk is doing.
pub fn unpack(
    source: Option<PathBuf>,
    target: PathBuf,
    options: UnpackOptions,
) -> (UnpackJob, impl Future<Output = Result<Unpacked>> + Send + 'static) {
    let call = Call::new(options.deadline, Cancel::new());
    let (feed, reader) = feed(call.stop.clone());
    let job = UnpackJob {
        feed,
        progress: Arc::default(),
        cancel: Cancel::new(),
    };
    let ended = run(source, reader, target, options, call, job.clone());
    (job, ended)
}

async fn run(
    source: Option<PathBuf>,
    reader: FeedReader,
    target: PathBuf,
    options: UnpackOptions,
    call: Call,
    job: UnpackJob,
) -> Result<Unpacked> {
    let call = Arc::new(call);
    let of_work = Arc::clone(&call);
    let extracting = ExtractOptions {
        limits: options.limits,
        symlinks: options.symlinks,
        duplicates: options.duplicates,
        declared_bytes: options.declared_bytes,
        cancel: call.stop.clone(),
        progress: job.progress,
        ..ExtractOptions::default()
    };
    let places = source.iter().cloned().chain([target.clone()]).collect();
    let work = workers::start(Class::Long, places, move || {
        let (source, compressed_bytes) =
            open(source, reader).map_err(|failure| failure.during(Stage::Decode))?;
        let replacement = Replacement {
            target: &target,
            mode: options.mode,
            options: &ExtractOptions {
                compressed_bytes: compressed_bytes.or(options.declared_bytes),
                ..extracting
            },
            gate: &of_work.gate,
        };
        replacement.run(source, |_| Ok(()), drop)
    });
    let end = async {
        tokio::select! {
            biased;
            () = job.cancel.cancelled() => Cancel::error().into(),
            () = call.deadline_passed() => Failure::new(Cause::Timeout, "the deadline passed"),
        }
    };
    let ended = call.wait_for(work.wait(), end).await;
    // The feeder learns that its bytes are not read any more.
    call.stop.cancel();
    let done = ended.and_then(|ran| ran.unwrap_or_else(|error| Err(error.into())));
    done.map_err(|failure| failure.during(Stage::Write))
}

/// The bytes of the archive, and how many there are if that is known.
fn open(source: Option<PathBuf>, reader: FeedReader) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    let Some(path) = source else {
        return Ok((Box::new(reader), None));
    };
    let file = fs::open_followed(&path)?;
    let stat = fs::stat_file(&file, &path)?;
    Ok((Box::new(file), (stat.kind == Kind::File).then_some(stat.size)))
}
