//! Bundles: `core/bundles` for JavaScript.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi_derive::napi;

use crate::core::bundles::{
    self, Collected, Durability, FileLock, From, Head, How, Options, Patience, Problem, PublishOptions,
    Stage, Store, Writer,
};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::identity;

use super::cancel::{self, CancelToken};
use super::environment::{self, EnvironmentId};
use super::error::Reply;
use super::number::{count, deadline, duration, number};
use super::runtime;

/// How long the collection after a publish waits for the writer lock before it leaves the work to the next one.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(30);

/// Options of `openBundles`.
#[napi(object)]
pub struct NativeBundleOptions {
    /// `process` or `power`.
    pub durability: String,
    /// Generations beside the current one.
    pub keep: Option<f64>,
    /// Milliseconds.
    pub grace_ms: Option<f64>,
    /// An absolute path.
    pub link: Option<String>,
}

/// Options of `publish`.
#[napi(object)]
pub struct NativePublishOptions {
    /// Milliseconds.
    pub timeout_ms: f64,
    /// Paths that must be in the stage.
    pub require: Vec<String>,
    /// Publish only what differs.
    pub if_changed: bool,
    /// The number that must be current.
    pub expect: Option<f64>,
    /// What the stage was made from.
    pub fingerprint: Option<String>,
    /// JSON text.
    pub meta: Option<String>,
    /// Pin the result before anybody can collect it.
    pub pin: bool,
}

/// What is known of a generation.
#[napi(object)]
pub struct NativeGeneration {
    /// Its number.
    pub number: f64,
    /// Over everything in it.
    pub digest: String,
    /// Milliseconds since the epoch.
    pub published_at: f64,
    /// Files and links.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// When its stage was made, microseconds of this boot's clock; left out for another boot.
    pub started_at: Option<f64>,
    /// The fence of its stage.
    pub fence: Option<f64>,
    /// What it was made from.
    pub fingerprint: Option<String>,
    /// JSON text.
    pub meta: Option<String>,
    /// Only of a publish: whether a new generation was made.
    pub changed: Option<bool>,
}

/// What a collection did.
#[napi(object)]
pub struct NativeCollected {
    /// Numbers that went.
    pub removed: Vec<f64>,
    /// Numbers that stay.
    pub kept: Vec<f64>,
    /// Numbers that a reader holds.
    pub pinned: Vec<f64>,
    /// Stages of dead writers.
    pub swept_stages: f64,
}

/// How an entry differs from the manifest.
#[napi(object)]
pub struct NativeProblem {
    /// Where.
    pub path: String,
    /// `missing`, `size`, `hash`, `mode` or `extra`.
    #[napi(ts_type = "'missing' | 'size' | 'hash' | 'mode' | 'extra'")]
    pub problem: String,
}

struct Shared {
    store: Store,
    owner: EnvironmentId,
    /// A collection waits for the lock: one is enough for all publishes before it.
    collecting: AtomicBool,
    /// Collections that have not ended.
    behind: tokio::sync::watch::Sender<usize>,
}

/// An open store.
#[napi]
pub struct NativeBundles {
    shared: Arc<Shared>,
}

/// A stage that is being written.
#[napi]
pub struct NativeStage {
    shared: Arc<Shared>,
    /// `None` once it was published or discarded.
    stage: Mutex<Option<Arc<Stage>>>,
    path: String,
}

/// The lock that one builder holds over all processes.
#[napi]
pub struct NativeBuildLock {
    lock: Mutex<Option<FileLock>>,
}

type Promise<'env, T> = napi::Result<PromiseRaw<'env, Reply<T>>>;

/// Microseconds of this boot's monotonic clock.
#[napi]
pub fn monotonic_micros() -> f64 {
    number(identity::monotonic_micros())
}

/// Opens a store.
#[napi(ts_return_type = "Promise<Reply<NativeBundles>>")]
pub fn open_bundles<'env>(
    env: &'env Env,
    root: String,
    options: NativeBundleOptions,
    timeout_ms: f64,
    token: Option<&CancelToken>,
) -> Promise<'env, NativeBundles> {
    let owner = environment::id(env);
    if bundles::owner_starts(owner) {
        environment::on_exit(env, bundles::owner_ends)?;
    }
    let cancel = cancel::of(token);
    env.spawn_future(runtime::blocking(move || {
        let patience = Patience {
            deadline: deadline("timeoutMs", timeout_ms)?,
            cancel,
        };
        let store = Store::open(&root, &open_options(options)?, &patience)?;
        Ok(NativeBundles {
            shared: Arc::new(Shared {
                store,
                owner,
                collecting: AtomicBool::new(false),
                behind: tokio::sync::watch::Sender::new(0),
            }),
        })
    }))
}

fn open_options(options: NativeBundleOptions) -> Result<Options> {
    Ok(Options {
        durability: if options.durability == "power" {
            Durability::Power
        } else {
            Durability::Process
        },
        keep: options.keep.map(|keep| count("keep", keep)).transpose()?,
        grace_ms: options
            .grace_ms
            .map(|grace| duration("graceMs", grace).map(milliseconds))
            .transpose()?,
        link: options.link.map(PathBuf::from),
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[napi]
impl NativeBundles {
    /// The canonical root.
    #[napi(getter)]
    pub fn root(&self) -> String {
        self.shared.store.layout().root().to_string_lossy().into_owned()
    }

    /// The filesystem's name.
    #[napi(getter)]
    pub fn filesystem(&self) -> String {
        self.shared.store.filesystem.to_owned()
    }

    /// Whether copies share blocks.
    #[napi(getter)]
    pub fn clone_offered(&self) -> bool {
        self.shared.store.clone
    }

    /// The number of the current generation; 0 is none.
    #[napi(ts_return_type = "Reply<number>")]
    pub fn current(&self) -> napi::Result<Reply<f64>> {
        runtime::guarded(|| Ok(number(self.shared.store.current()?.unwrap_or(0))))
    }

    /// The facts of a generation.
    #[napi(ts_return_type = "Reply<NativeGeneration>")]
    pub fn head(&self, generation: f64) -> napi::Result<Reply<NativeGeneration>> {
        runtime::guarded(|| {
            let head = self.shared.store.head(count("generation", generation)?)?;
            Ok(describe(&self.shared.store, head, None))
        })
    }

    /// Pins the current generation, or the one of this number; returns its number.
    #[napi(ts_return_type = "Reply<number>")]
    pub fn pin(&self, generation: Option<f64>) -> napi::Result<Reply<f64>> {
        runtime::guarded(|| {
            let Shared { store, owner, .. } = self.shared.as_ref();
            let Some(generation) = generation else {
                return bundles::pin_current(store, *owner).map(number);
            };
            bundles::pin_number(store, *owner, count("generation", generation)?)?;
            Ok(generation)
        })
    }

    /// Gives a pin back.
    #[napi]
    pub fn release(&self, generation: f64) {
        if let Ok(generation) = count("generation", generation) {
            bundles::release(&self.shared.store, self.shared.owner, generation);
        }
    }

    /// Makes a stage.
    #[napi(ts_return_type = "Promise<Reply<NativeStage>>")]
    pub fn stage<'env>(
        &self,
        env: &'env Env,
        from_current: bool,
        fenced: bool,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeStage> {
        let shared = Arc::clone(&self.shared);
        let cancel = cancel::of(token);
        let from = if from_current { From::Current } else { From::Empty };
        env.spawn_future(runtime::spawned(async move {
            let lock = if fenced {
                Some(writer_lock(&shared, timeout_ms, &cancel).await?)
            } else {
                None
            };
            runtime::step(move || {
                let store = &shared.store;
                let fence = lock
                    .map(|lock| Writer::new(store, lock)?.issue_fence())
                    .transpose()?;
                let stage = Stage::begin(store, from, fence, &cancel)?;
                let path = stage.tree().to_string_lossy().into_owned();
                Ok(NativeStage {
                    stage: Mutex::new(Some(Arc::new(stage))),
                    path,
                    shared,
                })
            })
            .await
        }))
    }

    /// Makes an older generation current again.
    #[napi(ts_return_type = "Promise<Reply<NativeGeneration>>")]
    pub fn rollback<'env>(
        &self,
        env: &'env Env,
        generation: f64,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeGeneration> {
        let shared = Arc::clone(&self.shared);
        let cancel = cancel::of(token);
        env.spawn_future(runtime::spawned(async move {
            let generation = count("generation", generation)?;
            let lock = writer_lock(&shared, timeout_ms, &cancel).await?;
            let behind = Arc::clone(&shared);
            let head = runtime::step(move || Writer::new(&shared.store, lock)?.rollback(generation)).await?;
            collect_behind(&behind);
            Ok(describe(&behind.store, head, None))
        }))
    }

    /// Removes what has to go.
    #[napi(ts_return_type = "Promise<Reply<NativeCollected>>")]
    pub fn collect<'env>(
        &self,
        env: &'env Env,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeCollected> {
        let shared = Arc::clone(&self.shared);
        let cancel = cancel::of(token);
        env.spawn_future(runtime::spawned(async move {
            let lock = writer_lock(&shared, timeout_ms, &cancel).await?;
            let collected = runtime::step(move || collect(&shared.store, lock)).await?;
            let numbers = |list: Vec<u64>| list.into_iter().map(number).collect();
            Ok(NativeCollected {
                removed: numbers(collected.removed),
                kept: numbers(collected.kept),
                pinned: numbers(collected.pinned),
                swept_stages: number(collected.swept_stages),
            })
        }))
    }

    /// The generations that are or were current.
    #[napi(ts_return_type = "Promise<Reply<Array<NativeGeneration>>>")]
    pub fn list<'env>(&self, env: &'env Env) -> Promise<'env, Vec<NativeGeneration>> {
        let shared = Arc::clone(&self.shared);
        env.spawn_future(runtime::blocking(move || {
            let heads = shared.store.list()?;
            Ok(heads
                .into_iter()
                .map(|head| describe(&shared.store, head, None))
                .collect())
        }))
    }

    /// Compares a generation with its manifest.
    #[napi(ts_return_type = "Promise<Reply<Array<NativeProblem>>>")]
    pub fn verify<'env>(&self, env: &'env Env, generation: Option<f64>) -> Promise<'env, Vec<NativeProblem>> {
        let shared = Arc::clone(&self.shared);
        env.spawn_future(runtime::blocking(move || {
            let generation = generation
                .map(|generation| count("generation", generation))
                .transpose()?;
            let problems = shared.store.verify(generation, &Cancel::new())?;
            Ok(problems.into_iter().map(problem).collect())
        }))
    }

    /// Waits until no collection of this handle is at work.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn settled<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let shared = Arc::clone(&self.shared);
        env.spawn_future(runtime::spawned(async move {
            let mut running = shared.behind.subscribe();
            // The sender lives as long as `shared`, so the wait can only end by the count.
            drop(running.wait_for(|running| *running == 0).await);
            Ok(())
        }))
    }

    /// Waits for the build lock.
    #[napi(ts_return_type = "Promise<Reply<NativeBuildLock>>")]
    pub fn build_lock<'env>(
        &self,
        env: &'env Env,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeBuildLock> {
        let path = self.shared.store.layout().build_lock();
        let cancel = cancel::of(token);
        env.spawn_future(runtime::spawned(async move {
            let patience = Patience {
                deadline: deadline("timeoutMs", timeout_ms)?,
                cancel,
            };
            let lock = FileLock::acquired(&path, &patience).await?;
            Ok(NativeBuildLock {
                lock: Mutex::new(Some(lock)),
            })
        }))
    }
}

#[napi]
impl NativeBuildLock {
    /// Lets go.
    #[napi]
    pub fn release(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[napi]
impl NativeStage {
    /// Where to write.
    #[napi(getter)]
    pub fn path(&self) -> String {
        self.path.clone()
    }

    /// Writes files: paths, contents and modes, one each.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn write<'env>(&self, env: &'env Env, files: Vec<NativeFile>) -> Promise<'env, ()> {
        let stage = self.open();
        // Copied here: a view of JavaScript's memory must not outlive the call.
        let files: Vec<_> = files
            .into_iter()
            .map(|file| (file.path, file.contents.to_vec(), file.mode))
            .collect();
        env.spawn_future(runtime::blocking(move || {
            let stage = stage?;
            files
                .iter()
                .try_for_each(|(path, contents, mode)| stage.write(path, contents, *mode))
        }))
    }

    /// Makes a link.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn symlink<'env>(&self, env: &'env Env, relative: String, target: String) -> Promise<'env, ()> {
        let stage = self.open();
        env.spawn_future(runtime::blocking(move || stage?.symlink(&relative, &target)))
    }

    /// Takes over the contents of a directory.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn adopt<'env>(&self, env: &'env Env, directory: String, how: String) -> Promise<'env, ()> {
        let stage = self.open();
        let how = match how.as_str() {
            "move" => How::Move,
            "copy" => How::Copy,
            _ => How::Clone,
        };
        env.spawn_future(runtime::blocking(move || {
            stage?.adopt(&PathBuf::from(directory), how, &Cancel::new())
        }))
    }

    /// Makes it the current generation.
    #[napi(ts_return_type = "Promise<Reply<NativeGeneration>>")]
    pub fn publish<'env>(
        &self,
        env: &'env Env,
        options: NativePublishOptions,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeGeneration> {
        let stage = self.open();
        let shared = Arc::clone(&self.shared);
        let cancel = cancel::of(token);
        env.spawn_future(runtime::spawned(async move {
            publish(shared, stage?, options, cancel).await
        }))
    }

    /// Removes it.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn discard<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner).take();
        env.spawn_future(runtime::blocking(move || {
            stage.map_or(Ok(()), |stage| stage.discard())
        }))
    }

    /// Lets go of the stage after it was published.
    #[napi]
    pub fn close(&self) {
        drop(self.stage.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl NativeStage {
    fn open(&self) -> Result<Arc<Stage>> {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.clone().ok_or_else(|| {
            Error::new(
                Code::StageClosed,
                "the stage was published or discarded; make a new one with stage()",
            )
        })
    }
}

async fn writer_lock(shared: &Shared, timeout_ms: f64, cancel: &Cancel) -> Result<FileLock> {
    let patience = Patience {
        deadline: deadline("timeoutMs", timeout_ms)?,
        cancel: cancel.clone(),
    };
    FileLock::acquired(&shared.store.layout().writer_lock(), &patience).await
}

async fn publish(
    shared: Arc<Shared>,
    stage: Arc<Stage>,
    options: NativePublishOptions,
    cancel: Cancel,
) -> Result<NativeGeneration> {
    let wanted = PublishOptions {
        if_changed: options.if_changed,
        expect: options.expect.map(|number| count("expect", number)).transpose()?,
        fingerprint: options.fingerprint,
        meta: options
            .meta
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| Error::argument("meta", error, "JSON"))?,
        pin_for: options.pin.then_some(shared.owner),
    };
    let (sealing, of, token) = (Arc::clone(&shared), Arc::clone(&stage), cancel.clone());
    let sealed = runtime::step(move || of.seal(&sealing.store, &options.require, &token)).await?;
    let lock = writer_lock(&shared, options.timeout_ms, &cancel).await?;
    let writing = Arc::clone(&shared);
    let published =
        runtime::step(move || Writer::new(&writing.store, lock)?.publish(&stage, &sealed, &wanted)).await?;
    collect_behind(&shared);
    Ok(describe(&shared.store, published.head, Some(published.changed)))
}

fn collect(store: &Store, lock: FileLock) -> Result<Collected> {
    let collected = Writer::new(store, lock)?.collect()?;
    store.sweep_trash()?;
    Ok(collected)
}

/// Collects in the background. A failure is left to the next collection, or to whoever calls `collect()`.
fn collect_behind(shared: &Arc<Shared>) {
    if shared.collecting.swap(true, Ordering::AcqRel) {
        return;
    }
    let shared = Arc::clone(shared);
    shared.behind.send_modify(|running| *running += 1);
    runtime::detached(async move {
        let result = collect_when_free(Arc::clone(&shared)).await;
        shared.behind.send_modify(|running| *running -= 1);
        result
    });
}

async fn collect_when_free(shared: Arc<Shared>) -> Result<()> {
    let lock = writer_lock(
        &shared,
        BACKGROUND_PATIENCE.as_secs_f64() * 1000.0,
        &Cancel::new(),
    )
    .await;
    // Before the work: a publish from now on needs a collection of its own.
    shared.collecting.store(false, Ordering::Release);
    let lock = lock?;
    runtime::step(move || collect(&shared.store, lock))
        .await
        .map(drop)
}

/// A file for a stage.
#[napi(object, object_to_js = false)]
pub struct NativeFile {
    /// Below the stage.
    pub path: String,
    /// Its bytes.
    pub contents: Uint8Array,
    /// Permission bits.
    pub mode: u32,
}

fn describe(store: &Store, head: Head, changed: Option<bool>) -> NativeGeneration {
    NativeGeneration {
        started_at: store.is_of_this_boot(&head).then(|| number(head.started_at)),
        number: number(head.number),
        digest: head.digest,
        published_at: number(head.published_at),
        files: number(head.files),
        bytes: number(head.bytes),
        fence: head.fence.map(number),
        fingerprint: head.fingerprint,
        meta: head.meta.map(|meta| meta.to_string()),
        changed,
    }
}

fn problem((path, problem): (String, Problem)) -> NativeProblem {
    let problem = match problem {
        Problem::Missing => "missing",
        Problem::Size => "size",
        Problem::Hash => "hash",
        Problem::Mode => "mode",
        Problem::Extra => "extra",
    };
    NativeProblem {
        path,
        problem: problem.to_owned(),
    }
}
