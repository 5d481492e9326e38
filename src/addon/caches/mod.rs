//! Binding of caches, for `src/js/caches`.

mod calls;
mod ensure;
mod lease;
mod options;
mod reports;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi_derive::napi;

use crate::core::caches::{Cache, CallProgress, Key, Location, Run};
use crate::core::error::Result;
use crate::core::failure::Stage;
use crate::core::sys::cancel::Cancel;

use super::cancel::{self, CancelToken};
use super::error::Reply;
use super::listener::Listener;
use super::number;
use super::runtime;
use options::{NativeBudget, NativeConditions, NativeRestoreOptions, NativeSnapshotOptions};
use reports::{
    NativeAbilities, NativeInspectReport, NativeProgress, NativePruneReport, NativeRestoreReport,
    NativeSnapshotReport,
};
use trust::NativeTrust;

/// An opened cache.
#[napi]
pub struct NativeCache {
    inner: Cache,
    ending: Cancel,
}

/// Opens a cache. Without a scheme, the cache is disabled.
#[napi(ts_return_type = "Reply<NativeCache>")]
pub fn open_cache(
    env: &Env,
    scheme: Option<String>,
    options: HashMap<String, String>,
    hmac_key: Option<Uint8Array>,
    read_only: bool,
    #[napi(ts_arg_type = "'auto' | 'required' | 'off'")] conditions: NativeConditions,
    trust: Option<NativeTrust>,
) -> napi::Result<Reply<NativeCache>> {
    let ending = calls::ending(env)?;
    runtime::guarded(|| {
        let options: BTreeMap<String, String> = options.into_iter().collect();
        let location = scheme
            .map(|scheme| Location::parse(&scheme, options))
            .transpose()?;
        let secret = hmac_key.map(|key| key.to_vec());
        let inner = Cache::open(location.as_ref(), secret, read_only, conditions.into())?;
        let inner = match trust {
            Some(trust) => inner.trusting(trust.read()?),
            None => inner,
        };
        Ok(NativeCache { inner, ending })
    })
}

async fn restore(
    cache: Cache,
    options: NativeRestoreOptions,
    cancel: Cancel,
    progress: Option<Listener<NativeProgress>>,
    ending: Cancel,
) -> Result<NativeRestoreReport> {
    let (options, budget) = options.read()?;
    let run = Run::start(budget, cancel, Stage::Lookup);
    // Boxed because the future is large (clippy::large_futures).
    let work = Box::pin(cache.restore(options, Arc::clone(&run)));
    let report = run.attend(work, &ending, reported_to(progress)).await?;
    Ok(report.into())
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
    Ok(run.attend(work, &ending, reported_to(progress)).await.into())
}

fn reported_to(listener: Option<Listener<NativeProgress>>) -> impl Fn(CallProgress) {
    move |progress| {
        if let Some(listener) = &listener {
            listener.call(progress.into());
        }
    }
}

#[napi]
impl NativeCache {
    /// Restores a key into a directory.
    #[napi(ts_return_type = "Promise<Reply<NativeRestoreReport>>")]
    pub fn restore<'env>(
        &self,
        env: &'env Env,
        options: NativeRestoreOptions,
        token: &CancelToken,
        #[napi(ts_arg_type = "((progress: NativeProgress) => void) | undefined")] progress: Option<
            Listener<NativeProgress>,
        >,
    ) -> napi::Result<PromiseRaw<'env, Reply<NativeRestoreReport>>> {
        let (cache, cancel, ending) = (self.inner.clone(), cancel::of(Some(token)), self.ending.clone());
        runtime::promised(env, restore(cache, options, cancel, progress, ending))
    }

    /// Uploads a directory as the new generation of a key.
    #[napi(ts_return_type = "Promise<Reply<NativeSnapshotReport>>")]
    pub fn snapshot<'env>(
        &self,
        env: &'env Env,
        options: NativeSnapshotOptions,
        token: &CancelToken,
        #[napi(ts_arg_type = "((progress: NativeProgress) => void) | undefined")] progress: Option<
            Listener<NativeProgress>,
        >,
    ) -> napi::Result<PromiseRaw<'env, Reply<NativeSnapshotReport>>> {
        let (cache, cancel, ending) = (self.inner.clone(), cancel::of(Some(token)), self.ending.clone());
        runtime::promised(env, snapshot(cache, options, cancel, progress, ending))
    }

    /// Starts a snapshot that does not keep the process alive. Calls `done` with the result unless the environment has
    /// ended.
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
        let done = Arc::new(done);
        let settled = Arc::clone(&done);
        let started = runtime::spawn(async move {
            let report = snapshot(cache, options, cancel, progress, ending).await;
            settled.call(Reply(report));
        });
        if let Err(error) = started {
            done.call(Reply(Err(error)));
        }
    }

    /// Returns the facts of a key's current generation.
    #[napi(ts_return_type = "Promise<Reply<NativeInspectReport>>")]
    pub fn inspect<'env>(
        &self,
        env: &'env Env,
        key: String,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Reply<NativeInspectReport>>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::promised(env, async move {
            let (key, budget) = (Key::parse("key", &key)?, budget.read()?);
            Ok(cache.inspect(key, budget, cancel).await.into())
        })
    }

    /// Removes objects of the store that are no longer needed.
    #[napi(ts_return_type = "Promise<Reply<NativePruneReport>>")]
    pub fn prune<'env>(
        &self,
        env: &'env Env,
        key: String,
        keep: f64,
        older_than_ms: f64,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Reply<NativePruneReport>>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::promised(env, async move {
            let (key, budget) = (Key::parse("options.key", &key)?, budget.read()?);
            let keep = number::count("options.keep", keep)?;
            let older_than = number::duration("options.olderThanMs", older_than_ms)?;
            Ok(cache.prune(key, keep, older_than, budget, cancel).await.into())
        })
    }

    /// Removes a key.
    #[napi(ts_return_type = "Promise<Reply<NativePruneReport>>")]
    pub fn remove<'env>(
        &self,
        env: &'env Env,
        key: String,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Reply<NativePruneReport>>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::promised(env, async move {
            let (key, budget) = (Key::parse("key", &key)?, budget.read()?);
            Ok(cache.remove(key, budget, cancel).await.into())
        })
    }

    /// Waits up to 5 s for what earlier calls do after they have returned.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn wait_for_background<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<()>>> {
        let cache = self.inner.clone();
        runtime::promised(env, async move {
            cache.wait_for_background().await;
            Ok(())
        })
    }

    /// Tests what the store supports. Resolves with an outcome other than `probed` if it cannot be reached.
    #[napi(ts_return_type = "Promise<Reply<NativeAbilities>>")]
    pub fn probe<'env>(
        &self,
        env: &'env Env,
        budget: NativeBudget,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Reply<NativeAbilities>>> {
        let (cache, cancel) = (self.inner.clone(), cancel::of(Some(token)));
        runtime::promised(env, async move {
            Ok(cache.probe(budget.read()?, cancel).await.into())
        })
    }
}
