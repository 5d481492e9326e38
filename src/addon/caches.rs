//! Caches for `src/js/caches.ts`.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::core::caches::cache::Cache;
use crate::core::caches::exclude::Excludes;
use crate::core::caches::guards::Guard;
use crate::core::caches::key::Key;
use crate::core::caches::maintain::Report;
use crate::core::caches::outcome::Stage;
use crate::core::caches::packing::Packing;
use crate::core::caches::pointer::Producer;
use crate::core::caches::restore::{RestoreOptions, RestoreReport};
use crate::core::caches::run::{Budget, Run};
use crate::core::caches::snapshot::{SnapshotOptions, SnapshotReport};
use crate::core::caches::store::Location;
use crate::core::caches::ticket::Ticket;
use crate::core::error::{Error, Result};
use crate::core::sys::cancel::Cancel;

use super::archive::{self, NativeLimits};
use super::cancel::{self, CancelToken};
use super::environment;
use super::error::Reply;
use super::listener::Listener;
use super::number;
use super::runtime;

/// How often a listener hears of progress.
const PROGRESS: Duration = Duration::from_millis(100);
/// How long the end of an environment waits for its calls to tidy up.
const TIDY_UP: Duration = Duration::from_millis(50);

/// An opened cache.
#[napi]
pub struct NativeCache {
    inner: Cache,
    /// Raised when the environment ends: its calls stop, and nobody is left to be told.
    ending: Cancel,
}

/// Time and patience of a call.
#[napi(object)]
pub struct NativeBudget {
    /// The whole call.
    pub deadline_ms: f64,
    /// Longest silence.
    pub idle_ms: f64,
    /// Least throughput; 0 is off.
    pub min_bytes_per_second: f64,
    /// Tries of one request.
    pub attempts: f64,
}

impl NativeBudget {
    fn read(&self) -> Result<Budget> {
        Ok(Budget {
            deadline: number::duration("deadlineMs", self.deadline_ms)?,
            idle: number::duration("idleMs", self.idle_ms)?,
            min_bytes_per_second: number::count("minBytesPerSecond", self.min_bytes_per_second)?,
            attempts: u32::try_from(number::count("attempts", self.attempts)?).unwrap_or(u32::MAX),
        })
    }
}

/// How far a call is.
#[napi(object)]
pub struct NativeProgress {
    /// What it does.
    pub stage: String,
    /// Files so far.
    pub files: f64,
    /// Bytes so far.
    pub bytes: f64,
    /// Bytes in all.
    pub total_bytes: Option<f64>,
}

/// What a key holds.
#[napi(object)]
pub struct NativeCacheInfo {
    /// Name of the generation.
    pub generation: String,
    /// Files.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// Bytes in the store.
    pub compressed_bytes: f64,
    /// RFC 3339.
    pub created_at: String,
    /// Who made it.
    pub producer: HashMap<String, String>,
}

/// The end of an inspect or remove.
#[napi(object)]
pub struct NativeInspectReport {
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// What is there.
    pub info: Option<NativeCacheInfo>,
}

/// The end of a prune or remove.
#[napi(object)]
pub struct NativePruneReport {
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// Paths that are gone.
    pub removed: Vec<String>,
    /// How long it took.
    pub ms: f64,
    /// Bytes that are gone, where the store told.
    pub bytes: f64,
}

/// What a store can do.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts, named as in the contract"
)]
#[napi(object)]
pub struct NativeAbilities {
    /// `probed`, or why nothing is known.
    pub outcome: String,
    /// For people.
    pub reason: Option<String>,
    /// Conditions on PUT are honoured.
    pub conditional_put: bool,
    /// Conditions on completing a multipart upload are honoured.
    pub conditional_multipart: bool,
    /// Ranges are exact.
    pub ranged: bool,
    /// We may write.
    pub writable: bool,
}

/// Opens a cache; without a scheme it is disabled.
#[napi(ts_return_type = "Reply<NativeCache>")]
pub fn open_cache(
    env: &Env,
    scheme: Option<String>,
    options: HashMap<String, String>,
    hmac_key: Option<Uint8Array>,
    read_only: bool,
) -> napi::Result<Reply<NativeCache>> {
    runtime::guarded(|| {
        let options: BTreeMap<String, String> = options.into_iter().collect();
        let location = scheme
            .map(|scheme| Location::parse(&scheme, options))
            .transpose()?;
        let secret = hmac_key.map(|key| key.to_vec());
        let inner = Cache::open(location.as_ref(), secret, read_only)?;
        let ending = Cancel::new();
        Ok(NativeCache { inner, ending })
    })
    .and_then(|reply| {
        if let Ok(cache) = &reply.0 {
            let ending = cache.ending.clone();
            environment::on_exit(env, move |_| {
                ending.cancel();
                // Long enough that an abandoned multipart upload is told to the store, short enough that
                // nobody waits for an exit.
                std::thread::sleep(TIDY_UP);
            })?;
        }
        Ok(reply)
    })
}

/// What the producer must have been.
#[napi(object)]
pub struct NativeExpect {
    /// As Node names it.
    pub platform: Option<String>,
    /// As Node names it.
    pub arch: Option<String>,
    /// `glibc` or `musl`.
    pub libc: Option<String>,
    /// What the snapshot was given.
    pub fingerprint: Option<String>,
}

/// What to restore.
#[napi(object)]
pub struct NativeRestoreOptions {
    /// Tried in turn.
    pub keys: Vec<String>,
    /// Absolute.
    pub into: String,
    /// `if-empty`, `replace` or `merge`.
    pub mode: String,
    /// `contained`, `relative`, `verbatim` or `reject`.
    pub symlinks: String,
    /// What the producer must have been.
    pub expect: NativeExpect,
    /// What is accepted at most.
    pub limits: NativeLimits,
    /// Connections.
    pub concurrency: f64,
    /// Time and patience.
    pub budget: NativeBudget,
}

impl NativeRestoreOptions {
    fn read(self) -> Result<(RestoreOptions, Budget)> {
        let keys = self.keys.iter().enumerate().map(|(index, key)| {
            let argument = if index == 0 {
                "options.key".to_owned()
            } else {
                format!("options.fallbackKeys[{}]", index - 1)
            };
            Key::parse(&argument, key)
        });
        let text = Option::unwrap_or_default;
        let options = RestoreOptions {
            keys: keys.collect::<Result<_>>()?,
            into: PathBuf::from(self.into),
            mode: archive::mode(&self.mode),
            symlinks: archive::symlinks(&self.symlinks),
            expect: Producer {
                platform: text(self.expect.platform),
                arch: text(self.expect.arch),
                libc: text(self.expect.libc),
                fingerprint: text(self.expect.fingerprint),
                ..Producer::default()
            },
            limits: archive::limits(&self.limits)?,
            concurrency: usize::try_from(number::count("options.concurrency", self.concurrency)?)
                .unwrap_or(1),
        };
        Ok((options, self.budget.read()?))
    }
}

/// How a restore ended.
#[napi(object)]
pub struct NativeRestoreReport {
    /// In one word.
    pub outcome: String,
    /// For people.
    pub reason: Option<String>,
    /// Which key.
    pub key: Option<String>,
    /// Which generation.
    pub generation: Option<String>,
    /// Where it failed.
    pub stage: Option<String>,
    /// Files.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// Bytes of the archive.
    pub compressed_bytes: f64,
    /// Files that stayed.
    pub skipped_files: f64,
    /// Repeated requests.
    pub retries: u32,
    /// How it was committed.
    pub commit: Option<String>,
    /// Milliseconds by stage.
    pub timings: Vec<(String, f64)>,
    /// For a snapshot.
    pub ticket: Option<String>,
}

impl From<RestoreReport> for NativeRestoreReport {
    fn from(report: RestoreReport) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            key: report.key,
            generation: report.generation,
            stage: report.stage.map(|stage| stage.as_str().to_owned()),
            files: number::number(report.files),
            bytes: number::number(report.bytes),
            compressed_bytes: number::number(report.compressed_bytes),
            skipped_files: number::number(report.skipped_files),
            retries: report.retries,
            commit: report.commit.map(str::to_owned),
            timings: named(report.timings),
            ticket: report.ticket,
        }
    }
}

/// What may become a generation.
#[napi(object)]
pub struct NativeGuard {
    /// Fewest files.
    pub min_files: f64,
    /// Fewest bytes.
    pub min_bytes: f64,
    /// Largest share that may be missing.
    pub max_shrink: f64,
    /// No limit to that.
    pub allow_shrink: bool,
}

/// What to snapshot.
#[napi(object)]
pub struct NativeSnapshotOptions {
    /// Its name.
    pub key: String,
    /// Absolute.
    pub from: String,
    /// Of a restore.
    pub ticket: Option<String>,
    /// Globs.
    pub exclude: Vec<String>,
    /// `deno`, `node_modules`, `vite` or `none`.
    pub preset: String,
    /// Recorded.
    pub fingerprint: String,
    /// What may become a generation.
    pub guard: NativeGuard,
    /// How long the tree must be unchanged.
    pub quiet_ms: f64,
    /// Of the compression.
    pub level: Option<f64>,
    /// What is packed at most.
    pub limits: NativeLimits,
    /// Time and patience.
    pub budget: NativeBudget,
}

impl NativeSnapshotOptions {
    fn read(self) -> Result<(SnapshotOptions, Budget)> {
        let key = Key::parse("options.key", &self.key)?;
        let preset = archive::preset(&self.preset);
        let limits = archive::limits(&self.limits)?;
        let ticket = self.ticket.map(|text| Ticket::parse(&text, &key)).transpose()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "src/js checked that it is from -7 to 19"
        )]
        let level = self.level.map(|level| level as i32);
        if let Some(level) = level {
            crate::core::caches::codec::check_level(key.single_object().unwrap_or_default(), level)?;
        }
        let options = SnapshotOptions {
            key,
            from: PathBuf::from(self.from),
            ticket,
            packing: Packing {
                excludes: Excludes::new(preset, &self.exclude)?,
                level,
                max_files: limits.max_files,
                max_bytes: limits.max_bytes,
            },
            guard: Guard {
                min_files: number::count("options.guard.minFiles", self.guard.min_files)?,
                min_bytes: number::count("options.guard.minBytes", self.guard.min_bytes)?,
                max_shrink: self.guard.max_shrink,
                allow_shrink: self.guard.allow_shrink,
            },
            quiet: number::duration("options.quietMs", self.quiet_ms)?,
            producer: Producer::of_this_machine(self.fingerprint),
        };
        Ok((options, self.budget.read()?))
    }
}

/// How a snapshot ended.
#[napi(object)]
pub struct NativeSnapshotReport {
    /// In one word.
    pub outcome: String,
    /// For people.
    pub reason: Option<String>,
    /// Which generation is current.
    pub generation: Option<String>,
    /// Files.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// Bytes of the archive.
    pub compressed_bytes: f64,
    /// Bytes that were sent.
    pub uploaded_bytes: f64,
    /// Path and why.
    pub skipped: Vec<Vec<String>>,
    /// `etag` or `none`.
    pub guard: String,
    /// Milliseconds by stage.
    pub timings: Vec<(String, f64)>,
}

impl From<SnapshotReport> for NativeSnapshotReport {
    fn from(report: SnapshotReport) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            reason: report.reason,
            generation: report.generation,
            files: number::number(report.files),
            bytes: number::number(report.bytes),
            compressed_bytes: number::number(report.compressed_bytes),
            uploaded_bytes: number::number(report.uploaded_bytes),
            skipped: report
                .skipped
                .into_iter()
                .map(|(path, why)| vec![path, why])
                .collect(),
            guard: if report.guarded { "etag" } else { "none" }.to_owned(),
            timings: named(report.timings),
        }
    }
}

fn named(timings: Vec<(&'static str, f64)>) -> Vec<(String, f64)> {
    timings
        .into_iter()
        .map(|(name, ms)| (name.to_owned(), ms))
        .collect()
}

/// Runs a call until it ends, telling its progress; the end of the environment cancels it.
async fn attended<T>(
    work: impl Future<Output = T>,
    run: Arc<Run>,
    progress: Option<Listener<NativeProgress>>,
    ending: Cancel,
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
                    biased;
                    done = &mut work => return done,
                    () = ending.cancelled() => {
                        run.meter.cancel.cancel();
                        return work.await;
                    }
                    () = tokio::time::sleep(PROGRESS) => {
                        if let Some(listener) = &progress {
                            let so_far = run.progress();
                            listener.call(NativeProgress {
                                    stage: so_far.stage.as_str().to_owned(),
                                    files: number::number(so_far.files),
                                    bytes: number::number(so_far.bytes),
                                    total_bytes: so_far.total_bytes.map(number::number),
        });
                        }
                    }
                }
    }
}

async fn restore(
    cache: Cache,
    options: NativeRestoreOptions,
    cancel: Cancel,
    progress: Option<Listener<NativeProgress>>,
    ending: Cancel,
) -> Result<NativeRestoreReport> {
    let (options, budget) = options.read()?;
    let is_file = |path: &PathBuf| path.is_file();
    if is_file(&options.into) {
        return Err(Error::argument(
            "options.into",
            format!("'{}', a file", options.into.display()),
            "a directory, or a path where nothing is",
        ));
    }
    let run = Run::start(budget, cancel, Stage::Lookup);
    let work = cache.restore(options, Arc::clone(&run));
    Ok(attended(work, run, progress, ending).await.into())
}

async fn snapshot(
    cache: Cache,
    options: NativeSnapshotOptions,
    cancel: Cancel,
    progress: Option<Listener<NativeProgress>>,
    ending: Cancel,
) -> Result<NativeSnapshotReport> {
    let (options, budget) = options.read()?;
    let run = Run::start(budget, cancel, Stage::Lookup);
    let work = cache.snapshot(options, Arc::clone(&run));
    Ok(attended(work, run, progress, ending).await.into())
}

#[napi]
impl NativeCache {
    /// Restores.
    #[napi(ts_return_type = "Promise<Reply<NativeRestoreReport>>")]
    pub async fn restore(
        &self,
        options: NativeRestoreOptions,
        token: &CancelToken,
        #[napi(ts_arg_type = "((progress: NativeProgress) => void) | undefined")] progress: Option<
            Listener<NativeProgress>,
        >,
    ) -> napi::Result<Reply<NativeRestoreReport>> {
        let (cache, cancel, ending) = (self.inner.clone(), cancel::of(Some(token)), self.ending.clone());
        runtime::spawned(restore(cache, options, cancel, progress, ending)).await
    }

    /// Snapshots.
    #[napi(ts_return_type = "Promise<Reply<NativeSnapshotReport>>")]
    pub async fn snapshot(
        &self,
        options: NativeSnapshotOptions,
        token: &CancelToken,
        #[napi(ts_arg_type = "((progress: NativeProgress) => void) | undefined")] progress: Option<
            Listener<NativeProgress>,
        >,
    ) -> napi::Result<Reply<NativeSnapshotReport>> {
        let (cache, cancel, ending) = (self.inner.clone(), cancel::of(Some(token)), self.ending.clone());
        runtime::spawned(snapshot(cache, options, cancel, progress, ending)).await
    }

    /// Snapshots without keeping the process alive: the end is told to `done`, if anybody is left.
    #[napi]
    pub fn snapshot_detached(
        &self,
        options: NativeSnapshotOptions,
        token: &CancelToken,
        #[napi(ts_arg_type = "(report: Reply<NativeSnapshotReport>) => void")] done: Listener<
            Reply<NativeSnapshotReport>,
        >,
        #[napi(ts_arg_type = "((progress: NativeProgress) => void) | undefined")] progress: Option<
            Listener<NativeProgress>,
        >,
    ) {
        let (cache, cancel, ending) = (self.inner.clone(), cancel::of(Some(token)), self.ending.clone());
        runtime::runtime().spawn(async move {
            let report = snapshot(cache, options, cancel, progress, ending).await;
            done.call(Reply(report));
        });
    }

    /// What a key holds.
    #[napi(ts_return_type = "Promise<Reply<NativeInspectReport>>")]
    pub async fn inspect(
        &self,
        key: String,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<Reply<NativeInspectReport>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::spawned(async move {
            let (key, budget) = (Key::parse("key", &key)?, budget.read()?);
            let report = cache.inspect(key, budget, cancel).await;
            Ok(NativeInspectReport {
                outcome: report.outcome.as_str().to_owned(),
                reason: report.reason,
                info: report.value.map(|info| NativeCacheInfo {
                    generation: info.generation,
                    files: number::number(info.files),
                    bytes: number::number(info.bytes),
                    compressed_bytes: number::number(info.compressed_bytes),
                    created_at: info.created,
                    producer: producer(&info.producer),
                }),
            })
        })
        .await
    }

    /// Removes what nobody needs.
    #[napi(ts_return_type = "Promise<Reply<NativePruneReport>>")]
    pub async fn prune(
        &self,
        key: String,
        keep: f64,
        older_than_ms: f64,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<Reply<NativePruneReport>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::spawned(async move {
            let (key, budget) = (Key::parse("options.key", &key)?, budget.read()?);
            let keep = number::count("options.keep", keep)?;
            let older_than = number::duration("options.olderThanMs", older_than_ms)?;
            let report = cache.prune(key, keep, older_than, budget, cancel).await;
            Ok(pruned(report))
        })
        .await
    }

    /// Removes a key.
    #[napi(ts_return_type = "Promise<Reply<NativePruneReport>>")]
    pub async fn remove(
        &self,
        key: String,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<Reply<NativePruneReport>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::spawned(async move {
            let (key, budget) = (Key::parse("key", &key)?, budget.read()?);
            let report = cache.remove(key, budget, cancel).await;
            Ok(pruned(Report {
                outcome: report.outcome,
                reason: report.reason,
                value: Vec::new(),
                ms: report.ms,
            }))
        })
        .await
    }

    /// What the store can do; nothing where it cannot be reached.
    #[napi(ts_return_type = "Promise<Reply<NativeAbilities>>")]
    pub async fn probe(
        &self,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<Reply<NativeAbilities>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::spawned(async move {
            let report = cache.probe(budget.read()?, cancel).await;
            let found = report.value;
            Ok(NativeAbilities {
                outcome: found.map_or(report.outcome.as_str(), |_| "probed").to_owned(),
                reason: report.reason,
                conditional_put: found.is_some_and(|found| found.conditional_put),
                conditional_multipart: found.is_some_and(|found| found.conditional_multipart),
                ranged: found.is_some_and(|found| found.ranged),
                writable: found.is_some_and(|found| found.writable),
            })
        })
        .await
    }
}

fn pruned(report: Report<Vec<String>>) -> NativePruneReport {
    NativePruneReport {
        outcome: report.outcome.as_str().to_owned(),
        reason: report.reason,
        removed: report.value,
        ms: report.ms,
        bytes: 0.0,
    }
}

fn producer(producer: &crate::core::caches::pointer::Producer) -> HashMap<String, String> {
    [
        ("tool", &producer.tool),
        ("version", &producer.version),
        ("platform", &producer.platform),
        ("arch", &producer.arch),
        ("libc", &producer.libc),
        ("fingerprint", &producer.fingerprint),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .into()
}
