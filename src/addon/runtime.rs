//! The threads that native work runs on: named, few, started on first use, and never joined, because an
//! environment that ends must not wait for another one's work (napi-rs#3443).

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::core::error::Result;

use super::error::Reply;

/// Threads for work that blocks: enough for a restore beside several publishes, few enough for two cores.
const BLOCKING_THREADS: usize = 16;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(5))
        .thread_name("warmswap")
        .enable_all()
        .build()
        .expect("the operating system gives two threads")
});

/// The runtime for asynchronous core code.
pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// Runs work that blocks on a thread of ours.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<Reply<T>> {
    settle(RUNTIME.spawn_blocking(work).await)
}

/// Runs asynchronous core code on our runtime.
pub(crate) async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> napi::Result<Reply<T>> {
    settle(RUNTIME.spawn(work).await)
}

/// Runs work that blocks on a thread of ours, as one step of asynchronous core code.
pub(crate) async fn step<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match RUNTIME.spawn_blocking(work).await {
        Ok(result) => result,
        // The guard of the whole call turns it into an error.
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}

/// Runs asynchronous core code that nobody waits for.
pub(crate) fn detached(work: impl Future<Output = Result<()>> + Send + 'static) {
    drop(RUNTIME.spawn(work));
}

fn settle<T>(joined: std::result::Result<Result<T>, tokio::task::JoinError>) -> napi::Result<Reply<T>> {
    match joined {
        Ok(result) => Ok(Reply(result)),
        Err(failure) if failure.is_panic() => Err(bug(failure.into_panic().as_ref())),
        Err(failure) => Err(napi::Error::from_reason(format!(
            "warmswap: the task was dropped: {failure}"
        ))),
    }
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
