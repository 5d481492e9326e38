//! Between a snapshot and the archive: a tree packed into a nameless local file, and hashes of what is sent and
//! what is read back.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::call::{SnapshotOptions, Stop};
use crate::core::archives::codec::{DEFAULT_LEVEL, FRAME_BYTES, Format};
use crate::core::archives::exclude::Excludes;
use crate::core::archives::failure::{Cause, Failure as ArchiveFailure};
use crate::core::archives::tree::Tree;
use crate::core::archives::{self, Needs, Progress};
use crate::core::caches::outcome::SnapshotOutcome;
use crate::core::caches::pointer::{Pointer, hex};
use crate::core::caches::run::Run;
use crate::core::caches::stamp;
use crate::core::caches::store::{Answer, Chunks, Failure, Kind, Listed, Meter, Spool, Store, download};
use crate::core::caches::thread;
use crate::core::error::Error;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs;

/// Connections that read a blob back.
const READ_BACK_CONCURRENCY: usize = 4;
/// How often a call's progress takes over the archive's.
const PROGRESS: Duration = Duration::from_millis(50);

/// What goes into an archive and how.
#[derive(Debug, Clone)]
pub struct Packing {
    /// What stays out.
    pub excludes: Excludes,
    /// Of the compression; the format's own default if absent.
    pub level: Option<i32>,
    /// Most files.
    pub max_files: u64,
    /// Most bytes of the files.
    pub max_bytes: u64,
}

/// A packed tree, not yet sent.
pub(in crate::core::caches) struct Packed {
    pub(in crate::core::caches) spool: Arc<Spool>,
    pub(in crate::core::caches) sha256: String,
    pub(in crate::core::caches) files: u64,
    pub(in crate::core::caches) bytes: u64,
    pub(in crate::core::caches) frames: u64,
    pub(in crate::core::caches) window_log: u32,
    pub(in crate::core::caches) digest: String,
    pub(in crate::core::caches) tree: Tree,
    pub(in crate::core::caches) skipped: Vec<(String, String)>,
    /// Symbolic links that lead out of the tree, which a restore refuses unless told otherwise.
    pub(in crate::core::caches) leaving_links: u64,
    /// What a restore needs.
    pub(in crate::core::caches) needs: Needs,
}

impl From<ArchiveFailure> for Stop {
    fn from(failure: ArchiveFailure) -> Self {
        let outcome = match failure.cause {
            Cause::Corrupt => SnapshotOutcome::Corrupt,
            Cause::Unstable => SnapshotOutcome::Unstable,
            Cause::Busy => SnapshotOutcome::Busy,
            Cause::NoSpace => SnapshotOutcome::NoSpace,
            Cause::Denied => SnapshotOutcome::Denied,
            Cause::Timeout => SnapshotOutcome::Timeout,
            Cause::Aborted => SnapshotOutcome::Aborted,
            Cause::TooLarge => SnapshotOutcome::TooLarge,
            // Nothing to pack is an empty tree, told apart from a tree that cannot be read.
            _ if failure.error.is_not_found() => SnapshotOutcome::Empty,
            _ => SnapshotOutcome::Error,
        };
        Self(outcome, failure.error.message)
    }
}

/// Files and bytes of the tree if it is the pointer's: only files that changed since the stamp are read. Without
/// a stamp packing is as fast as looking.
pub(in crate::core::caches) async fn find_unchanged(
    options: &SnapshotOptions,
    pointer: &Pointer,
    run: &Arc<Run>,
) -> Option<(u64, u64)> {
    let (from, excludes) = (options.from.clone(), options.packing.excludes.clone());
    let (pointer, cancel) = (pointer.clone(), run.meter.cancel.clone());
    let looking = thread::run(&options.from, move || {
        let mut known = stamp::read(&from).ok().flatten()?;
        if known.generation == pointer.generation {
            if let Some(totals) = known.find_unchanged(&from, &excludes, &cancel).ok()? {
                return Some(totals);
            }
            known = stamp::read(&from).ok().flatten()?;
        }
        let scan = known.scan(&from, &excludes, &cancel).ok()?;
        if scan.tree.digest() != pointer.tree {
            return None;
        }
        if !scan.is_unchanged {
            // The next look is then a stat walk; without it only slower.
            drop(stamp::write(&from, &pointer.generation, &scan.tree));
        }
        Some(scan.tree.totals())
    });
    looking.await.ok().flatten()
}

/// Takes a stamp of a tree that is a generation now. Not waited for: it only makes the next call faster.
pub(in crate::core::caches) fn remember(options: &SnapshotOptions, generation: &str, tree: Tree) {
    let (from, generation) = (options.from.clone(), generation.to_owned());
    thread::detach(&options.from, move || {
        drop(stamp::write(&from, &generation, &tree));
    });
}

/// Packs the tree of a snapshot on a thread of its own.
pub(in crate::core::caches) async fn pack(options: &SnapshotOptions, run: &Arc<Run>) -> Result<Packed, Stop> {
    let (from, options, cancel) = (options.from.clone(), options.clone(), run.meter.cancel.clone());
    let progress = Arc::new(Progress::default());
    let counted = Arc::clone(&progress);
    let packing = thread::run(&from, move || pack_here(&options, cancel, counted));
    follow(packing, &progress, run).await
}

/// Waits for work on another thread and passes its progress on to the call.
pub(in crate::core::caches) async fn follow<T, E: From<Failure>>(
    work: impl Future<Output = Answer<Result<T, E>>>,
    progress: &Progress,
    run: &Run,
) -> Result<T, E> {
    tokio::pin!(work);
    loop {
        match tokio::time::timeout(PROGRESS, &mut work).await {
            Ok(Ok(done)) => {
                let (files, bytes) = progress.so_far();
                run.count(files, bytes);
                return done;
            }
            Ok(Err(failure)) => return Err(failure.into()),
            Err(_) => {
                let (files, bytes) = progress.so_far();
                run.count(files, bytes);
            }
        }
    }
}

fn pack_here(options: &SnapshotOptions, cancel: Cancel, progress: Arc<Progress>) -> Result<Packed, Stop> {
    let format = options.key.single_object().unwrap_or(Format::TarZst);
    let writing = archives::WriteOptions {
        format,
        level: options.packing.level.unwrap_or(DEFAULT_LEVEL),
        excludes: options.packing.excludes.clone(),
        max_files: options.packing.max_files,
        max_bytes: options.packing.max_bytes,
        hash: true,
        cancel,
        progress,
    };
    let directory = std::env::temp_dir();
    let mut sink = Sink {
        file: fs::anonymous(&directory).map_err(Failure::from)?,
        hasher: Sha256::new(),
        path: &directory,
    };
    let summary = archives::write(&options.from, &mut sink, &writing)?;
    // A pointer declares the bytes, so that the ratio does not count.
    let ratio = options
        .key
        .single_object()
        .map(|_| (summary.decoded_bytes, summary.compressed_bytes));
    Ok(Packed {
        sha256: hex(&sink.hasher.finalize()),
        spool: Arc::new(Spool {
            file: sink.file,
            size: summary.compressed_bytes,
            path: directory,
        }),
        files: summary.files,
        bytes: summary.bytes,
        frames: summary.frames,
        // A frame never needs a larger window than its own content.
        window_log: FRAME_BYTES.ilog2(),
        digest: summary.tree.digest(),
        needs: Needs::of(&summary.tree, ratio),
        tree: summary.tree,
        leaving_links: summary.leaving_links,
        skipped: summary
            .skipped
            .into_iter()
            .map(|skipped| (skipped.path, skipped.why.to_owned()))
            .collect(),
    })
}

/// A nameless file that hashes what is written to it.
struct Sink<'a> {
    file: File,
    hasher: Sha256,
    path: &'a Path,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fs::write_all(&mut self.file, bytes, self.path).map_err(into_io)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn into_io(error: Error) -> io::Error {
    error.source.unwrap_or_else(|| io::Error::other(error.message))
}

/// The sha256 of what a store gives for an object.
pub(in crate::core::caches) async fn hash_object(
    store: &Arc<dyn Store>,
    object: Listed,
    meter: &Arc<Meter>,
) -> Answer<String> {
    let chunks = download(
        Arc::clone(store),
        object,
        READ_BACK_CONCURRENCY,
        Arc::clone(meter),
    );
    let failure = chunks.failure();
    // It reads no file, and counts where this process's temporary files are.
    let hashed = thread::run(&std::env::temp_dir(), move || hash(chunks)).await?;
    hashed.map_err(|error| {
        failure
            .get()
            .cloned()
            .unwrap_or_else(|| Failure::new(Kind::Local, error.to_string()))
    })
}

fn hash(mut chunks: Chunks) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match chunks.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
