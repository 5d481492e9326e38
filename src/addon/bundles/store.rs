//! Binding of stores.

use std::path::PathBuf;
use std::sync::Arc;

use napi::Env;
use napi_derive::napi;

use crate::addon::cancel::CancelToken;
use crate::addon::environment::{self, EnvironmentId};
use crate::addon::error::Reply;
use crate::addon::number::{count, number};
use crate::addon::runtime::{self, Promise};
use crate::core::bundles::{self, NamedPinRequest, Store};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::clock;

use super::build_lock::NativeBuildLock;
use super::options::{NativeBundleOptions, patience, stage_from};
use super::reports::{
    NativeCollected, NativeExcess, NativeGeneration, NativeNamedPin, NativeProblem, collected, describe,
    named_pin, problem,
};
use super::stage::NativeStage;

/// An open store.
#[napi]
pub struct NativeBundles {
    store: Arc<Store>,
    owner: EnvironmentId,
}

/// Current time of this boot's monotonic clock, in microseconds.
#[napi]
pub fn monotonic_micros() -> f64 {
    number(clock::monotonic_micros())
}

/// Opens a store and creates it if it does not exist. Rejects with `ERR_TIMEOUT` if the writer lock is not free in
/// time.
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
    let patience = patience(timeout_ms, token);
    runtime::promised(env, async move {
        let store = Store::open(root, options.into_core()?, &patience?).await?;
        Ok(NativeBundles { store, owner })
    })
}

#[napi]
impl NativeBundles {
    /// Canonical path of the store's root.
    #[napi(getter)]
    pub fn root(&self) -> String {
        self.store.layout().root().to_string_lossy().into_owned()
    }

    /// Random id of the store. Missing for a store of an older version that this process cannot write to.
    #[napi(getter)]
    pub fn id(&self) -> Option<String> {
        self.store.id().map(str::to_owned)
    }

    /// Id that the URLs of this store need, because this process has used another store at the same path.
    #[napi(getter)]
    pub fn distinguishing_id(&self) -> Option<String> {
        self.store.distinguishing_id().map(str::to_owned)
    }

    /// Name of the filesystem, such as `ext4`.
    #[napi(getter)]
    pub fn filesystem(&self) -> String {
        self.store.filesystem.to_owned()
    }

    /// Whether copies on this filesystem can share blocks.
    #[napi(getter)]
    pub fn clone_offered(&self) -> bool {
        self.store.clone
    }

    /// Number of the current generation. 0 if nothing has been published.
    #[napi(ts_return_type = "Reply<number>")]
    pub fn current(&self) -> napi::Result<Reply<f64>> {
        runtime::guarded(|| Ok(number(self.store.current()?.unwrap_or(0))))
    }

    /// Whether a generation is the current one. `false` if the store was removed, moved or replaced.
    #[napi(ts_return_type = "Reply<boolean>")]
    pub fn is_current(&self, generation: f64) -> napi::Result<Reply<bool>> {
        runtime::guarded(|| self.store.is_current(count("generation", generation)?))
    }

    /// Facts of a generation. Fails with `ERR_GENERATION_GONE` if it was collected.
    #[napi(ts_return_type = "Reply<NativeGeneration>")]
    pub fn head(&self, generation: f64) -> napi::Result<Reply<NativeGeneration>> {
        runtime::guarded(|| {
            let head = self.store.head(count("generation", generation)?)?;
            Ok(describe(&self.store, head, None))
        })
    }

    /// Pins the current generation, or the one with this number. Returns its number.
    #[napi(ts_return_type = "Reply<number>")]
    pub fn pin(&self, generation: Option<f64>) -> napi::Result<Reply<f64>> {
        runtime::guarded(|| {
            let Some(generation) = generation else {
                return bundles::pin_current(&self.store, self.owner).map(number);
            };
            bundles::pin_number(&self.store, self.owner, count("generation", generation)?)?;
            Ok(generation)
        })
    }

    /// Releases one pin of a generation.
    #[napi]
    pub fn release(&self, generation: f64) {
        if let Ok(generation) = count("generation", generation) {
            bundles::release(&self.store, self.owner, generation);
        }
    }

    /// The descriptor of a pin, for a child to inherit.
    #[napi]
    pub fn pin_descriptor(&self, generation: f64) -> Option<i32> {
        let generation = count("generation", generation).ok()?;
        bundles::pin_descriptor(&self.store, generation)
    }

    /// Gives a generation a name until a time, and pins it.
    #[napi(ts_return_type = "Promise<Reply<NativeNamedPin>>")]
    pub fn pin_named<'env>(
        &self,
        env: &'env Env,
        name: String,
        expires_at: f64,
        generation: Option<f64>,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeNamedPin> {
        let (store, owner, patience) = (Arc::clone(&self.store), self.owner, patience(timeout_ms, token));
        runtime::promised(env, async move {
            let request = NamedPinRequest {
                name,
                number: generation
                    .map(|generation| count("generation", generation))
                    .transpose()?,
                expires_at: count("expiresAt", expires_at)?,
                owner,
            };
            let (pin, resumed) = store.pin_named(request, &patience?).await?;
            Ok(named_pin(pin, Some(resumed)))
        })
    }

    /// The named pins that have not ended.
    #[napi(ts_return_type = "Promise<Reply<Array<NativeNamedPin>>>")]
    pub fn named_pins<'env>(&self, env: &'env Env) -> Promise<'env, Vec<NativeNamedPin>> {
        let store = Arc::clone(&self.store);
        runtime::blocking(env, self.store.layout().root(), move || {
            let pins = store.named_pins()?.into_iter();
            Ok(pins.map(|pin| named_pin(pin, None)).collect())
        })
    }

    /// Ends a named pin; `false` if there was none.
    #[napi(ts_return_type = "Promise<Reply<boolean>>")]
    pub fn release_named<'env>(
        &self,
        env: &'env Env,
        name: String,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, bool> {
        let (store, patience) = (Arc::clone(&self.store), patience(timeout_ms, token));
        runtime::promised(env, async move { store.release_named(name, &patience?).await })
    }

    /// Set if a collection found that pinned generations exceed the bound, once.
    #[napi]
    pub fn excess_bytes(&self) -> Option<NativeExcess> {
        let (bytes, max_bytes) = self.store.excess_bytes()?;
        Some(NativeExcess {
            bytes: number(bytes),
            max_bytes: number(max_bytes),
        })
    }

    /// Creates a stage.
    #[napi(ts_return_type = "Promise<Reply<NativeStage>>")]
    pub fn stage<'env>(
        &self,
        env: &'env Env,
        from_current: bool,
        fenced: bool,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeStage> {
        let (store, owner, patience) = (Arc::clone(&self.store), self.owner, patience(timeout_ms, token));
        runtime::promised(env, async move {
            let stage = store.stage(stage_from(from_current), fenced, &patience?).await?;
            Ok(NativeStage::new(store, owner, stage))
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
        let (store, patience) = (Arc::clone(&self.store), patience(timeout_ms, token));
        runtime::promised(env, async move {
            let head = store
                .rollback(count("generation", generation)?, &patience?)
                .await?;
            Ok(describe(&store, head, None))
        })
    }

    /// Replaces the link with a real directory that contains the same files. Resolves with `false` if there was no
    /// link.
    #[napi(ts_return_type = "Promise<Reply<boolean>>")]
    pub fn give_directory<'env>(
        &self,
        env: &'env Env,
        link: String,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, bool> {
        let (store, patience) = (Arc::clone(&self.store), patience(timeout_ms, token));
        runtime::promised(env, async move {
            store.give_directory(PathBuf::from(link), &patience?).await
        })
    }

    /// Paths of the directories that a link replaced and that were set aside since the last call.
    #[napi]
    pub fn set_aside(&self) -> Vec<String> {
        let trees = self.store.set_aside();
        trees
            .iter()
            .map(|tree| tree.to_string_lossy().into_owned())
            .collect()
    }

    /// Removes generations and stages that are no longer needed.
    #[napi(ts_return_type = "Promise<Reply<NativeCollected>>")]
    pub fn collect<'env>(
        &self,
        env: &'env Env,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeCollected> {
        let (store, patience) = (Arc::clone(&self.store), patience(timeout_ms, token));
        runtime::promised(env, async move { store.collect(&patience?).await.map(collected) })
    }

    /// Lists the generations that are or were current.
    #[napi(ts_return_type = "Promise<Reply<Array<NativeGeneration>>>")]
    pub fn list<'env>(&self, env: &'env Env) -> Promise<'env, Vec<NativeGeneration>> {
        let store = Arc::clone(&self.store);
        runtime::blocking(env, self.store.layout().root(), move || {
            let heads = store.list()?.into_iter();
            Ok(heads.map(|head| describe(&store, head, None)).collect())
        })
    }

    /// Compares every byte of a generation with its manifest. Without a number, the current generation.
    #[napi(ts_return_type = "Promise<Reply<Array<NativeProblem>>>")]
    pub fn verify<'env>(&self, env: &'env Env, generation: Option<f64>) -> Promise<'env, Vec<NativeProblem>> {
        let store = Arc::clone(&self.store);
        runtime::blocking(env, self.store.layout().root(), move || {
            let generation = generation
                .map(|generation| count("generation", generation))
                .transpose()?;
            let problems = store.verify(generation, &Cancel::new())?;
            Ok(problems.into_iter().map(problem).collect())
        })
    }

    /// Ends the background collections of this handle that wait for the lock, and waits until none is running.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn settled<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let store = Arc::clone(&self.store);
        runtime::promised(env, async move {
            store.settled().await;
            Ok(())
        })
    }

    /// Waits for the build lock and acquires it.
    #[napi(ts_return_type = "Promise<Reply<NativeBuildLock>>")]
    pub fn build_lock<'env>(
        &self,
        env: &'env Env,
        timeout_ms: f64,
        token: Option<&CancelToken>,
    ) -> Promise<'env, NativeBuildLock> {
        let (store, patience) = (Arc::clone(&self.store), patience(timeout_ms, token));
        runtime::promised(env, async move {
            store.build_lock(&patience?).await.map(NativeBuildLock::new)
        })
    }
}
