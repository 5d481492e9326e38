//! Where native work runs: asynchronous code on one thread, and calls that block on the threads of
//! [`workers`](crate::core::sys::workers). Both are started on first use and never joined, because an environment that
//! ends must not wait for another one's work (napi-rs#3443). A thread that the operating system refuses fails the call
//! that needed it; the next call tries again.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures::FutureExt as _;
use napi::Env;
use napi::bindgen_prelude::{JsValue as _, PromiseRaw, ToNapiValue};
use tokio::runtime::{Builder, Handle};

use crate::core::error::{At as _, Result};
use crate::core::sys::sync::Mutex;
use crate::core::sys::thread;

pub(crate) use crate::core::sys::workers::step;

use super::error::Reply;
use super::promise;

/// Threads of tokio for calls that block. Only files of credentials are read on them.
const TOKIO_BLOCKING_THREADS: usize = 4;

static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);

/// The runtime for asynchronous core code.
fn handle() -> Result<Handle> {
    let mut running = RUNTIME.lock();
    if let Some(handle) = running.as_ref() {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(TOKIO_BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(5))
        .thread_name("warmswap-tokio")
        .enable_all()
        .build()
        .at("epoll_create", Path::new("a runtime"))?;
    let handle = runtime.handle().clone();
    thread::spawn("warmswap-async", move || {
        runtime.block_on(std::future::pending::<()>());
    })?;
    *running = Some(handle.clone());
    Ok(handle)
}

/// What an asynchronous call returns.
pub(crate) type Promise<'env, T> = napi::Result<PromiseRaw<'env, Reply<T>>>;

/// A promise that asynchronous core code settles.
pub(crate) fn promised<T: ToNapiValue + Send + 'static>(
    env: &Env,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> napi::Result<PromiseRaw<'_, Reply<T>>> {
    let (settling, promise) = promise::open(env)?;
    match handle() {
        Ok(handle) => drop(handle.spawn(async move {
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(result) => settling.settle(result),
                Err(panic) => match thread::refused_in(panic.as_ref()) {
                    Some(refused) => settling.settle(Err(refused)),
                    None => settling.reject(bug(panic.as_ref())),
                },
            }
        })),
        Err(error) => settling.settle(Err(error)),
    }
    Ok(PromiseRaw::new(env.raw(), promise.raw()))
}

/// A promise that is settled.
pub(crate) fn settled<T: ToNapiValue + Send + 'static>(
    env: &Env,
    result: Result<T>,
) -> napi::Result<PromiseRaw<'_, Reply<T>>> {
    let (settling, promise) = promise::open(env)?;
    settling.settle(result);
    Ok(PromiseRaw::new(env.raw(), promise.raw()))
}

/// A promise that work settles which waits only for the filesystem of `path`.
pub(crate) fn blocking<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    path: &Path,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<PromiseRaw<'env, Reply<T>>> {
    promised(env, step(vec![path.to_path_buf()], work))
}

/// Runs asynchronous core code that nobody waits for.
///
/// # Errors
/// `ERR_IO` where there is no thread for it.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    handle().map(|handle| drop(handle.spawn(work)))
}

/// Runs a synchronous call so that a panic becomes an error with our name on it.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> napi::Result<Reply<T>> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .map(Reply)
        .map_err(|panic| bug(panic.as_ref()))
}

fn bug(panic: &(dyn Any + Send)) -> napi::Error {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    napi::Error::from_reason(format!(
        "warmswap has a bug: its native code panicked ({text}). Please report it with this message."
    ))
}
