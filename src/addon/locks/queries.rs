//! Binding of the lock calls that acquire nothing.

use std::path::{Path, PathBuf};

use napi::Env;
use napi::bindgen_prelude::{PromiseRaw, ToNapiValue};
use napi_derive::napi;

use super::events::{NativeLiveness, json, milliseconds};
use crate::addon::cancel::{self, CancelToken};
use crate::addon::error::Reply;
use crate::addon::number::{count, deadline, timeout};
use crate::addon::runtime;
use crate::core::error::Result;
use crate::core::locks::{self, Inspection, LockPath, Swept};
use crate::core::sys::workers;

type Promise<'env, T> = napi::Result<PromiseRaw<'env, Reply<T>>>;

/// Result of a sweep.
#[napi(object)]
pub struct NativeSwept {
    /// Removed paths.
    pub removed: Vec<String>,
    /// Lock directories whose holders are alive or cannot be verified.
    pub held: Vec<String>,
}

impl From<Swept> for NativeSwept {
    fn from(swept: Swept) -> Self {
        Self {
            removed: texts(&swept.removed),
            held: texts(&swept.held),
        }
    }
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    paths.iter().map(text).collect()
}

/// State of a lock path.
#[napi(object)]
pub struct NativeInspection {
    /// Whether a live or unverifiable holder has the lock.
    pub held: bool,
    /// Holder, as JSON of `Holder`.
    pub holder: Option<String>,
    /// Whether the holder is alive.
    #[napi(ts_type = "'alive' | 'dead' | 'unknown'")]
    pub liveness: Option<NativeLiveness>,
    /// Milliseconds since the acquisition.
    pub age_ms: Option<f64>,
    /// Why the path cannot be locked, or why its content is never taken over.
    pub warning: Option<String>,
}

impl From<Inspection> for NativeInspection {
    fn from(found: Inspection) -> Self {
        Self {
            held: found.is_held,
            holder: found.holder.as_ref().map(json),
            liveness: found.liveness.map(Into::into),
            age_ms: found.age.map(milliseconds),
            warning: found.warning,
        }
    }
}

/// Removes what killed processes left in a directory of locks, and the files of locks that were not used for
/// `unused_ms` milliseconds.
#[napi(ts_return_type = "Promise<Reply<NativeSwept>>")]
pub fn sweep_locks<'env>(
    env: &'env Env,
    directory: String,
    unused_ms: f64,
    timeout_ms: f64,
    token: Option<&CancelToken>,
) -> Promise<'env, NativeSwept> {
    answered(env, directory, timeout_ms, token, move |directory| {
        let unused = timeout("options.unusedMs", unused_ms)?;
        locks::sweep(Path::new(directory), unused).map(Into::into)
    })
}

/// Reads the state of a lock without acquiring it.
#[napi(ts_return_type = "Promise<Reply<NativeInspection>>")]
pub fn inspect_lock<'env>(
    env: &'env Env,
    path: String,
    timeout_ms: f64,
    token: Option<&CancelToken>,
) -> Promise<'env, NativeInspection> {
    answered(env, path, timeout_ms, token, |path| {
        locks::inspect(&LockPath::parse(path)?).map(Into::into)
    })
}

/// Runs work that depends only on the filesystem of `path`. Ends at its timeout or when the token is raised.
fn answered<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    path: String,
    timeout_ms: f64,
    token: Option<&CancelToken>,
    work: impl FnOnce(&str) -> Result<T> + Send + 'static,
) -> Promise<'env, T> {
    let cancel = cancel::of(token);
    let place = PathBuf::from(&path);
    runtime::promised(env, async move {
        let deadline = deadline("options.timeoutMs", timeout_ms)?;
        let work = runtime::step(vec![place.clone()], move || work(&path));
        workers::within(deadline, &cancel, &place, work).await
    })
}

/// Renames `from` to `to`. Rejects with `ERR_FENCED` if a later generation of the lock exists.
#[napi(ts_return_type = "Promise<Reply<void>>")]
pub fn publish_fenced(env: &Env, path: String, generation: f64, from: String, to: String) -> Promise<'_, ()> {
    let place = PathBuf::from(&path);
    runtime::blocking(env, &place, move || {
        let lock = LockPath::parse(&path)?;
        let generation = count("generation", generation)?;
        locks::publish_fenced(&lock, generation, Path::new(&from), Path::new(&to))
    })
}
