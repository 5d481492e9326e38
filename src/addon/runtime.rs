//! Threads for native work. Asynchronous code runs on one thread, and blocking calls run on the threads of
//! [`workers`](crate::core::sys::workers). Both start on first use and are never joined, because an ending environment
//! must not wait for the work of another one (napi-rs#3443). If the operating system refuses a thread, the call that
//! needed it fails, and the next call tries again.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

/// Number of tokio threads for blocking calls. Only credential files are read on them.
const TOKIO_BLOCKING_THREADS: usize = 4;

static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);

/// Returns the runtime of asynchronous core code and starts it if needed.
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

/// Return type of an asynchronous call.
pub(crate) type Promise<'env, T> = napi::Result<PromiseRaw<'env, Reply<T>>>;

/// Creates a promise that asynchronous core code settles.
pub(crate) fn promised<T: ToNapiValue + Send + 'static>(
    env: &Env,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> napi::Result<PromiseRaw<'_, Reply<T>>> {
    let (settling, promise) = promise::open(env)?;
    match handle() {
        Ok(handle) => start(
            &handle,
            Box::pin(async move {
                match AssertUnwindSafe(work).catch_unwind().await {
                    Ok(result) => settling.settle(result),
                    Err(panic) => match thread::refused_in(panic.as_ref()) {
                        Some(refused) => settling.settle(Err(refused)),
                        None => settling.reject(bug(panic.as_ref())),
                    },
                }
            }),
        ),
        Err(error) => settling.settle(Err(error)),
    }
    Ok(PromiseRaw::new(env.raw(), promise.raw()))
}

/// Creates a settled promise.
pub(crate) fn settled<T: ToNapiValue + Send + 'static>(
    env: &Env,
    result: Result<T>,
) -> napi::Result<PromiseRaw<'_, Reply<T>>> {
    let (settling, promise) = promise::open(env)?;
    settling.settle(result);
    Ok(PromiseRaw::new(env.raw(), promise.raw()))
}

/// Creates a promise that blocking work settles. The work depends only on the filesystem of `path`.
pub(crate) fn blocking<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    path: &Path,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<PromiseRaw<'env, Reply<T>>> {
    promised(env, step(vec![path.to_path_buf()], work))
}

/// Runs asynchronous core code whose end no caller awaits.
///
/// # Errors
/// `ERR_IO` if the operating system refuses a thread.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    handle().map(|handle| start(&handle, Box::pin(work)))
}

/// Starts a task. It takes a box, because tokio's code for a task is compiled once for each type: 6 KB.
fn start(handle: &Handle, work: Pin<Box<dyn Future<Output = ()> + Send>>) {
    let running = Running::begin();
    drop(handle.spawn(async move {
        let _running = running;
        work.await;
    }));
}

/// Number of tasks that run, for all environments.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Counts a task until it has settled its promise.
struct Running;

impl Running {
    fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits until no task runs, for at most `limit`.
pub(crate) fn wait_for_tasks(limit: Duration) {
    let started = Instant::now();
    while RUNNING.load(Ordering::Acquire) > 0 && started.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a synchronous call and converts a panic to an error that names warmswap.
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
        "warmswap has a bug: its native code panicked ({text}). Please report this message."
    ))
}
