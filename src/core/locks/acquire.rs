//! Acquires locks for callers in this process.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::attempt::Attempt;
use super::guard_file;
use super::path::LockPath;
use super::queue::Queue;
use super::request::{ModeChoice, Request};
use super::wait::{Wait, WaitHandle};
use super::waiter::{self, Acquired, OnWait};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// Acquires a lock and waits for it until the deadline. A deadline in the past means a single attempt.
///
/// Dropping the future ends the wait. A lock that was acquired at that moment is released.
///
/// # Errors
/// `ERR_LOCK_TIMEOUT` with the holder. `ERR_ABORTED` when cancelled. `ERR_UNSUPPORTED` if the filesystem does not
/// support the requested mode. `ERR_FORMAT` if a newer version of warmswap holds the lock. `ERR_IO`.
pub async fn acquire(
    lock: LockPath,
    request: Request,
    deadline: Deadline,
    cancel: Cancel,
    on_wait: Option<OnWait>,
) -> Result<Acquired> {
    cancel.check()?;
    if let Some(acquired) = try_acquire_inline(&lock, &request)? {
        return Ok(acquired);
    }
    let (sender, answer) = oneshot::channel();
    let wait = Wait::for_lock(lock, request, deadline, on_wait, move |acquired| {
        drop(sender.send(acquired));
    });
    let _given_up = GiveUpOnDrop(wait.handle());
    Queue::find(&wait.waiter.lock, wait.waiter.request.mode)?.enter(wait);
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Cancel::error()),
        answer = answer => answer.unwrap_or_else(|_| Err(Error::new(Code::Closed, "The thread that waits for locks has ended")))
    }
}

/// Acquires a free lock on the calling thread, if its directory is known to be in memory, so that no call waits for a
/// disk. Returns `None` if the lock is not free, or if another caller already waits for it.
///
/// # Errors
/// Same as [`acquire`].
pub fn try_acquire_inline(lock: &LockPath, request: &Request) -> Result<Option<Acquired>> {
    if !Queue::is_in_memory(lock) || request.mode == ModeChoice::Lease {
        return Ok(None);
    }
    // Callers of this process acquire the lock in the order of their calls.
    if waiter::is_any_for(lock) || guard_file::has_waiters(lock).unwrap_or(true) {
        return Ok(None);
    }
    let Some(queue) = Queue::known(lock, request.mode)? else {
        return Ok(None);
    };
    let acquired = Attempt::new(lock, Arc::new(request.clone()))?.try_acquire_inline()?;
    Ok(acquired.map(|handle| {
        queue.watch_later(&handle);
        Acquired {
            handle,
            waited_since: None,
        }
    }))
}

/// Ends the wait when its future is dropped.
struct GiveUpOnDrop(WaitHandle);

impl Drop for GiveUpOnDrop {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
