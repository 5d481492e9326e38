//! Bundles: `core/bundles` for JavaScript.

mod collecting;
mod options;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;

use crate::core::bundles::{self, FileLock, From, Opening, Options, Patience, Stage, Store, Writer};
use crate::core::error::Result;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::{identity, workers};

use super::cancel::{self, CancelToken};
use super::environment::{self, EnvironmentId};
use super::error::Reply;
use super::number::{count, deadline, number};
use super::runtime;

use collecting::{collect, collect_behind};
use options::{
    NativeBundleOptions, NativeCollected, NativeGeneration, NativeProblem, collected, describe, open_options,
    problem,
};
use stage::NativeStage;

struct Shared {
    store: Store,
    owner: EnvironmentId,
    /// A collection waits for the lock: one is enough for all publishes before it.
    collecting: AtomicBool,
    /// Collections that have not ended.
    behind: tokio::sync::watch::Sender<usize>,
    /// Raised by `settled`: a collection that still waits for the lock leaves its work to the next one.
    closing: Cancel,
}

impl Shared {
    /// Where it is, for the threads that work on it.
    fn place(&self) -> PathBuf {
        self.store.layout().root().to_path_buf()
    }
}

/// An open store.
#[napi]
pub struct NativeBundles {
    shared: Arc<Shared>,
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
    runtime::promised(env, async move {
        let options = open_options(options)?;
        let patience = patience(timeout_ms, &cancel)?;
        let store = opened(root, options, &patience).await?;
        Ok(NativeBundles {
            shared: Arc::new(Shared {
                store,
                owner,
                collecting: AtomicBool::new(false),
                behind: tokio::sync::watch::Sender::new(0),
                closing: Cancel::new(),
            }),
        })
    })
}

async fn opened(root: String, options: Options, patience: &Patience) -> Result<Store> {
    let path = PathBuf::from(&root);
    let places: Vec<PathBuf> = options.link.iter().chain([&path]).cloned().collect();
    let Patience { deadline, cancel } = patience;
    let begun = runtime::step(places.clone(), move || Opening::begin(&root, &options));
    let opening = workers::within(*deadline, cancel, &path, begun).await?;
    let lock = match opening.waits_for() {
        Some(path) => Some(FileLock::acquired(&path, patience).await?),
        None => None,
    };
    // A repair that outlives this call stops soon.
    let given_up = Cancel::new();
    let stop = given_up.clone();
    let finished = runtime::step(places, move || opening.finish(lock, &stop));
    let finished = workers::within(*deadline, cancel, &path, finished).await;
    given_up.cancel();
    finished
}

#[napi]
impl NativeBundles {
    /// The canonical root.
    #[napi(getter)]
    pub fn root(&self) -> String {
        self.shared.store.layout().root().to_string_lossy().into_owned()
    }

    /// The store's own name.
    #[napi(getter)]
    pub fn id(&self) -> Option<String> {
        self.shared.store.id().map(str::to_owned)
    }

    /// What the URLs of this store have to carry, because this process has had another store at the same path.
    #[napi(getter)]
    pub fn distinguishing_id(&self) -> Option<String> {
        self.shared.store.distinguishing_id().map(str::to_owned)
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

    /// Whether a generation of this store is current.
    #[napi(ts_return_type = "Reply<boolean>")]
    pub fn is_current(&self, generation: f64) -> napi::Result<Reply<bool>> {
        runtime::guarded(|| self.shared.store.is_current(count("generation", generation)?))
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
        let place = shared.place();
        let from = if from_current { From::Current } else { From::Empty };
        runtime::promised(env, async move {
            let lock = if fenced {
                Some(writer_lock(&shared, timeout_ms, &cancel).await?)
            } else {
                None
            };
            runtime::step(vec![place], move || {
                let store = &shared.store;
                let fence = lock
                    .map(|lock| Writer::new(store, lock)?.issue_fence())
                    .transpose()?;
                let stage = Stage::begin(store, from, fence, &cancel)?;
                Ok(NativeStage::new(Arc::clone(&shared), stage))
            })
            .await
        })
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
        runtime::promised(env, async move {
            let (generation, place) = (count("generation", generation)?, shared.place());
            let lock = writer_lock(&shared, timeout_ms, &cancel).await?;
            let behind = Arc::clone(&shared);
            let head = runtime::step(vec![place], move || {
                Writer::new(&shared.store, lock)?.rollback(generation)
            })
            .await?;
            collect_behind(&behind);
            Ok(describe(&behind.store, head, None))
        })
    }

    /// Makes the link a real directory with the files that it shows; whether it was done.
    #[napi(ts_return_type = "Promise<Reply<boolean>>")]
    pub fn give_directory<'env>(
        &self,
        env: &'env Env,
        link: String,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, bool> {
        let shared = Arc::clone(&self.shared);
        let cancel = cancel::of(token);
        runtime::promised(env, async move {
            let lock = writer_lock(&shared, timeout_ms, &cancel).await?;
            let places = vec![shared.place(), PathBuf::from(&link)];
            runtime::step(places, move || {
                Writer::new(&shared.store, lock)?.give_directory(Path::new(&link), &cancel)
            })
            .await
        })
    }

    /// The directories that a link replaced since the last call, where they are kept.
    #[napi]
    pub fn set_aside(&self) -> Vec<String> {
        let trees = self.shared.store.set_aside();
        trees
            .iter()
            .map(|tree| tree.to_string_lossy().into_owned())
            .collect()
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
        runtime::promised(env, async move {
            let place = shared.place();
            let lock = writer_lock(&shared, timeout_ms, &cancel).await?;
            runtime::step(vec![place], move || collect(&shared.store, lock))
                .await
                .map(collected)
        })
    }

    /// The generations that are or were current.
    #[napi(ts_return_type = "Promise<Reply<Array<NativeGeneration>>>")]
    pub fn list<'env>(&self, env: &'env Env) -> Promise<'env, Vec<NativeGeneration>> {
        let shared = Arc::clone(&self.shared);
        runtime::blocking(env, &self.shared.place(), move || {
            let heads = shared.store.list().map_err(|error| shared.store.explain(error))?;
            Ok(heads
                .into_iter()
                .map(|head| describe(&shared.store, head, None))
                .collect())
        })
    }

    /// Compares a generation with its manifest.
    #[napi(ts_return_type = "Promise<Reply<Array<NativeProblem>>>")]
    pub fn verify<'env>(&self, env: &'env Env, generation: Option<f64>) -> Promise<'env, Vec<NativeProblem>> {
        let shared = Arc::clone(&self.shared);
        runtime::blocking(env, &self.shared.place(), move || {
            let generation = generation
                .map(|generation| count("generation", generation))
                .transpose()?;
            let problems = shared.store.verify(generation, &Cancel::new());
            let problems = problems.map_err(|error| shared.store.explain(error))?;
            Ok(problems.into_iter().map(problem).collect())
        })
    }

    /// Ends the collections of this handle that wait for the lock, and waits until none is at work.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn settled<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let shared = Arc::clone(&self.shared);
        if *shared.behind.borrow() == 0 {
            return runtime::settled(env, Ok(()));
        }
        runtime::promised(env, async move {
            shared.closing.cancel();
            let mut running = shared.behind.subscribe();
            // The sender lives as long as `shared`, so the wait can only end by the count.
            drop(running.wait_for(|running| *running == 0).await);
            Ok(())
        })
    }

    /// Waits for the build lock.
    #[napi(ts_return_type = "Promise<Reply<NativeBuildLock>>")]
    pub fn build_lock<'env>(
        &self,
        env: &'env Env,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeBuildLock> {
        let (shared, cancel) = (Arc::clone(&self.shared), cancel::of(token));
        runtime::promised(env, async move {
            shared.store.check_writable()?;
            let lock = acquired(&shared.store.layout().build_lock(), timeout_ms, &cancel).await;
            let lock = lock.map_err(|error| shared.store.explain(error))?;
            Ok(NativeBuildLock {
                lock: Mutex::new(Some(lock)),
            })
        })
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

async fn writer_lock(shared: &Shared, timeout_ms: f64, cancel: &Cancel) -> Result<FileLock> {
    shared.store.check_writable()?;
    let lock = acquired(&shared.store.layout().writer_lock(), timeout_ms, cancel).await;
    lock.map_err(|error| shared.store.explain(error))
}

/// Waits for a lock without a thread of its own.
async fn acquired(path: &Path, timeout_ms: f64, cancel: &Cancel) -> Result<FileLock> {
    FileLock::acquired(path, &patience(timeout_ms, cancel)?).await
}

fn patience(timeout_ms: f64, cancel: &Cancel) -> Result<Patience> {
    Ok(Patience {
        deadline: deadline("timeoutMs", timeout_ms)?,
        cancel: cancel.clone(),
    })
}
