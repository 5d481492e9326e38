//! One unpack from a file or from pushed bytes, with one deadline.

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

/// Options of an unpack.
#[derive(Debug, Clone, Copy)]
pub struct UnpackOptions {
    /// How a target that already contains entries is treated.
    pub mode: TargetMode,
    /// Which symbolic links the archive may contain.
    pub symlinks: Symlinks,
    /// How a path that occurs twice in the archive is treated.
    pub duplicates: Duplicates,
    /// Size of the archive in bytes, as declared by its sender.
    pub declared_bytes: Option<u64>,
    /// Limits of the reader.
    pub limits: Limits,
    /// Deadline of the call.
    pub deadline: Deadline,
}

/// A running unpack.
#[derive(Debug, Clone)]
pub struct UnpackJob {
    /// Receives the bytes, if they do not come from a file.
    pub feed: Feed,
    /// Files and bytes so far.
    pub progress: Arc<Progress>,
    /// Raised to stop the call.
    pub cancel: Cancel,
}

/// Unpacks an archive to a target. Reads the file `source`, or the bytes that are pushed to the job's feed. The future
/// runs the unpack. It settles when the deadline passes or the job is cancelled, even if the disk hangs.
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
    // The feeder is informed that its bytes are no longer read.
    call.stop.cancel();
    let done = ended.and_then(|ran| ran.unwrap_or_else(|error| Err(error.into())));
    done.map_err(|failure| failure.during(Stage::Write))
}

/// Opens the archive. Returns its size if it is known.
fn open(source: Option<PathBuf>, reader: FeedReader) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    let Some(path) = source else {
        return Ok((Box::new(reader), None));
    };
    let file = fs::open_followed(&path)?;
    let stat = fs::stat_file(&file, &path)?;
    Ok((Box::new(file), (stat.kind == Kind::File).then_some(stat.size)))
}
