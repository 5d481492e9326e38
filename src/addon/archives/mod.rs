//! pack and unpack.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi_derive::napi;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::core::archives::UnpackOutcome;
use crate::core::archives::codec::{self, Format};
use crate::core::archives::commit::Mode;
use crate::core::archives::exclude::{Excludes, Preset};
use crate::core::archives::feed::{self, Feed, Next};
use crate::core::archives::pipeline::{self, Unpacked};
use crate::core::archives::{self, ExtractOptions, Limits, Progress, Symlinks, WriteOptions};
use crate::core::error::{Error, Result};
use crate::core::failure::Failure;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::workers::{self, Class};
use crate::core::sys::{fs, thread};

use super::error::Reply;
use super::{number, runtime};

/// Chunks that wait for the reader of a packed stream.
const CHUNKS: usize = 2;

/// How to pack.
#[napi(object)]
pub struct NativePackOptions {
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// 'deno', 'node_modules', 'vite' or 'none'.
    pub preset: String,
    /// The codec's level.
    pub level: Option<f64>,
    /// 'tar.zst', 'tar.gz' or 'tar'.
    pub format: String,
}

/// A directory on its way to a stream; starts with the first pull.
#[napi]
pub struct Packer {
    source: Arc<Mutex<Source>>,
    cancel: Cancel,
}

enum Source {
    Ready(PathBuf, WriteOptions),
    Running(mpsc::Receiver<Result<Vec<u8>>>),
    Ended,
}

#[napi]
impl Packer {
    /// The next bytes, or nothing at the end.
    #[napi(ts_return_type = "Promise<Reply<Uint8Array | null>>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<Option<Uint8Array>>>> {
        let (source, cancel) = (Arc::clone(&self.source), self.cancel.clone());
        runtime::promised(env, async move {
            let mut source = source.lock().await;
            let next = tokio::select! {
                next = pull(&mut source) => next,
                () = cancel.cancelled() => Some(Err(Cancel::error())),
            };
            Ok(next.transpose()?.map(Uint8Array::from))
        })
    }

    /// Stops packing.
    #[napi]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

async fn pull(source: &mut Source) -> Option<Result<Vec<u8>>> {
    if let Source::Ready(directory, _) = source {
        // A directory that does not answer must not keep a thread for each caller.
        let looked_at = directory.clone();
        let looking = workers::run(Class::Short, directory, move || drop(fs::stat(&looked_at)));
        if let Err(refused) = looking.await {
            return Some(Err(refused));
        }
        if let Source::Ready(directory, options) = std::mem::replace(source, Source::Ended) {
            *source = Source::Running(start(directory, options));
        }
    }
    let Source::Running(chunks) = source else {
        return None;
    };
    let next = chunks.recv().await;
    if !matches!(next, Some(Ok(_))) {
        *source = Source::Ended;
    }
    next
}

/// Packs on a thread of its own: one whose reader stalls must not hold one of the runtime's few.
fn start(directory: PathBuf, options: WriteOptions) -> mpsc::Receiver<Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let on_failure = sender.clone();
    let spawned = thread::spawn("warmswap-pack", move || {
        let mut sink = Chunks(sender.clone());
        if let Err(failure) = archives::write(&directory, &mut sink, &options) {
            // The reader may be gone, which is then the reason of the failure.
            drop(sender.blocking_send(Err(failure.error)));
        }
    });
    if let Err(error) = spawned {
        drop(on_failure.try_send(Err(error)));
    }
    receiver
}

struct Chunks(mpsc::Sender<Result<Vec<u8>>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() && self.0.blocking_send(Ok(bytes.to_vec())).is_err() {
            return Err(Failure::from(Cancel::error()).into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prepares to pack a directory.
#[napi(ts_return_type = "Reply<Packer>")]
pub fn start_pack(directory: String, options: NativePackOptions) -> napi::Result<Reply<Packer>> {
    runtime::guarded(|| {
        let format = match options.format.as_str() {
            "tar.gz" => Format::TarGz,
            "tar" => Format::Tar,
            _ => Format::TarZst,
        };
        let level = match options.level {
            Some(level) => number::level("level", level)?,
            None if format == Format::TarGz => 6,
            None => codec::DEFAULT_LEVEL,
        };
        codec::check_level(format, level)?;
        let cancel = Cancel::new();
        let options = WriteOptions {
            format,
            level,
            excludes: Excludes::new(preset(&options.preset), &options.exclude)?,
            // Nobody asks a packed stream for its tree.
            hash: false,
            cancel: cancel.clone(),
            ..WriteOptions::default()
        };
        let source = Arc::new(Mutex::new(Source::Ready(PathBuf::from(directory), options)));
        Ok(Packer { source, cancel })
    })
}

/// A preset by its name; src/js has checked it.
pub(crate) fn preset(name: &str) -> Preset {
    match name {
        "deno" => Preset::Deno,
        "node_modules" => Preset::NodeModules,
        "vite" => Preset::Vite,
        _ => Preset::None,
    }
}

/// What a reader accepts at most; what is left out has its default.
#[napi(object)]
pub struct NativeLimits {
    /// All files together.
    pub max_bytes: Option<f64>,
    /// Entries.
    pub max_files: Option<f64>,
    /// One file.
    pub max_file_bytes: Option<f64>,
    /// Decoded bytes for one compressed byte.
    pub max_ratio: Option<f64>,
    /// Decoder and buffers.
    pub max_memory_bytes: Option<f64>,
    /// What must stay free on the disk.
    pub min_free_bytes: Option<f64>,
}

/// The core's limits.
pub(crate) fn limits(given: &NativeLimits) -> Result<Limits> {
    let standard = Limits::default();
    let pick = |name: &str, value: Option<f64>, standard: u64| {
        value.map_or(Ok(standard), |value| number::count(name, value))
    };
    Ok(Limits {
        max_bytes: pick("limits.maxBytes", given.max_bytes, standard.max_bytes)?,
        max_files: pick("limits.maxFiles", given.max_files, standard.max_files)?,
        max_file_bytes: pick(
            "limits.maxFileBytes",
            given.max_file_bytes,
            standard.max_file_bytes,
        )?,
        max_ratio: given
            .max_ratio
            .map(|ratio| number::count("limits.maxRatio", ratio))
            .transpose()?,
        max_memory_bytes: pick(
            "limits.maxMemoryBytes",
            given.max_memory_bytes,
            standard.max_memory_bytes,
        )?,
        min_free_bytes: pick(
            "limits.minFreeBytes",
            given.min_free_bytes,
            standard.min_free_bytes,
        )?,
    })
}

/// A target's mode by its name; src/js has checked it.
pub(crate) fn mode(name: &str) -> Mode {
    match name {
        "replace" => Mode::Replace,
        "merge" => Mode::Merge,
        _ => Mode::IfEmpty,
    }
}

/// A rule for links by its name; src/js has checked it.
pub(crate) fn symlinks(name: &str) -> Symlinks {
    match name {
        "relative" => Symlinks::Relative,
        "verbatim" => Symlinks::Verbatim,
        "reject" => Symlinks::Reject,
        _ => Symlinks::Contained,
    }
}

/// How to unpack.
#[napi(object)]
pub struct NativeUnpackOptions {
    /// 'if-empty', 'replace' or 'merge'.
    pub mode: String,
    /// 'contained', 'relative', 'verbatim' or 'reject'.
    pub symlinks: String,
    /// What is accepted at most.
    pub limits: NativeLimits,
    /// Milliseconds from now; `Infinity` is never.
    pub deadline_ms: f64,
}

/// How an unpack ended, in the words of `RestoreResult`.
#[napi(object)]
pub struct NativeUnpackResult {
    /// 'restored' or why not.
    pub outcome: String,
    /// For people, if not restored.
    pub reason: Option<String>,
    /// The error's code, if not restored.
    pub code: Option<String>,
    /// Where it stopped, if not restored.
    pub stage: Option<String>,
    /// How it was committed.
    pub commit: Option<String>,
    /// Regular files.
    pub files: f64,
    /// Their bytes.
    pub bytes: f64,
    /// Bytes read from the source.
    pub compressed_bytes: f64,
    /// Entries that the target had already.
    pub skipped_files: f64,
    /// Milliseconds until everything was staged and verified.
    pub unpack_ms: f64,
    /// Milliseconds of the commit.
    pub commit_ms: f64,
}

/// An archive on its way to a target.
#[napi]
pub struct Unpacker {
    feed: Feed,
    cancel: Cancel,
    progress: Arc<Progress>,
    result: Arc<Mutex<Option<oneshot::Receiver<NativeUnpackResult>>>>,
}

#[napi]
impl Unpacker {
    /// Hands over bytes: 0 go on, 1 wait for `drained`, 2 stop.
    #[napi]
    pub fn push(&self, chunk: &[u8]) -> u8 {
        step(self.feed.push(chunk.to_vec()))
    }

    /// Resolves when there is room (0) or nobody reads any more (2).
    #[napi(ts_return_type = "Promise<Reply<number>>")]
    pub fn drained<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<u8>>> {
        let feed = self.feed.clone();
        runtime::promised(env, async move { Ok(step(feed.drained().await)) })
    }

    /// There are no more bytes.
    #[napi]
    pub fn end(&self) {
        self.feed.end();
    }

    /// Where the bytes came from failed.
    #[napi]
    pub fn fail(&self, reason: String) {
        self.feed.fail(reason);
    }

    /// Stops.
    #[napi]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Files, and their bytes, so far.
    #[napi]
    pub fn progress(&self) -> (f64, f64) {
        let (files, bytes) = self.progress.so_far();
        (number::number(files), number::number(bytes))
    }

    /// How it ended; can be asked once.
    #[napi(ts_return_type = "Promise<Reply<NativeUnpackResult>>")]
    pub fn result<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<NativeUnpackResult>>> {
        let result = Arc::clone(&self.result);
        runtime::promised(env, async move {
            let receiver = result.lock().await.take();
            match receiver {
                Some(receiver) => receiver
                    .await
                    .map_err(|_| Error::new(crate::core::error::Code::Closed, "the environment has ended")),
                None => Err(Error::new(
                    crate::core::error::Code::Closed,
                    "the result was asked for already",
                )),
            }
        })
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn step(next: Next) -> u8 {
    match next {
        Next::More => 0,
        Next::Wait => 1,
        Next::Stop => 2,
    }
}

/// Starts to unpack into `target`: from the file `source`, or from what is pushed.
#[napi(ts_return_type = "Reply<Unpacker>")]
pub fn start_unpack(
    source: Option<String>,
    target: String,
    options: NativeUnpackOptions,
) -> napi::Result<Reply<Unpacker>> {
    runtime::guarded(|| {
        let deadline = number::deadline("deadlineMs", options.deadline_ms)?;
        let cancel = Cancel::new();
        let progress = Arc::<Progress>::default();
        let extract = ExtractOptions {
            limits: limits(&options.limits)?,
            symlinks: symlinks(&options.symlinks),
            cancel: cancel.clone(),
            progress: Arc::clone(&progress),
            ..ExtractOptions::default()
        };
        // Raised by whoever ends first: the caller, or the call itself at its deadline.
        let over = Cancel::new();
        let (feed, reader) = feed::feed(over.clone());
        let places = source.iter().map(PathBuf::from).collect();
        let open = move || -> crate::core::failure::Result<(Box<dyn io::Read + Send>, Option<u64>)> {
            Ok(match source {
                Some(path) => {
                    let file = fs::open_followed(Path::new(&path))?;
                    let stat = fs::stat_file(&file, Path::new(&path))?;
                    let size = (stat.kind == fs::Kind::File).then_some(stat.size);
                    (Box::new(file), size)
                }
                None => (Box::new(reader), None),
            })
        };
        let target = PathBuf::from(target);
        let mode = mode(&options.mode);
        let (sender, result) = oneshot::channel();
        runtime::spawn(async move {
            let ended = pipeline::unpack_within(places, open, target, mode, extract, deadline).await;
            over.cancel();
            // The environment may have ended.
            drop(sender.send(convert(ended)));
        })?;
        let result = Arc::new(Mutex::new(Some(result)));
        Ok(Unpacker {
            feed,
            cancel,
            progress,
            result,
        })
    })
}

fn convert(ended: crate::core::failure::Result<Unpacked>) -> NativeUnpackResult {
    match ended {
        Ok(done) => NativeUnpackResult {
            outcome: "restored".to_owned(),
            reason: None,
            code: None,
            stage: None,
            commit: Some(done.way.as_str().to_owned()),
            files: number::number(done.files),
            bytes: number::number(done.bytes),
            compressed_bytes: number::number(done.compressed_bytes),
            skipped_files: number::number(done.kept),
            unpack_ms: done.unpack_ms,
            commit_ms: done.commit_ms,
        },
        Err(failure) => NativeUnpackResult {
            outcome: UnpackOutcome::from(failure.cause).as_str().to_owned(),
            reason: Some(failure.error.message),
            code: Some(failure.error.code.as_str().to_owned()),
            stage: failure.stage.map(|stage| stage.as_str().to_owned()),
            commit: None,
            files: 0.0,
            bytes: 0.0,
            compressed_bytes: 0.0,
            skipped_files: 0.0,
            unpack_ms: 0.0,
            commit_ms: 0.0,
        },
    }
}
