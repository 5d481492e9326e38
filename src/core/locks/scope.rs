//! Locks and waits of one JavaScript environment, such as a worker thread. They end with it.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use super::acquire;
use super::handle::{LockHandle, Release};
use super::path::LockPath;
use super::queue::Queue;
use super::record::FailedRun;
use super::request::Request;
use super::wait::Wait;
use super::waiter::{Acquired, OnWait};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::sync::Mutex;

/// Locks and waits of one environment.
pub struct LockScope(Mutex<Option<Holdings>>);

/// Content of a scope. `None` after the scope has ended.
#[derive(Default)]
struct Holdings {
    handles: HashMap<String, Arc<LockHandle>>,
    waits: Vec<Cancel>,
}

impl LockScope {
    /// Creates an empty scope.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Holdings::default()))))
    }

    /// Ends the scope: cancels its waits and releases its locks, except those that children keep.
    pub fn close(&self) {
        let holdings = self.holdings().take();
        let Some(Holdings { handles, waits }) = holdings else {
            return;
        };
        waits.iter().for_each(Cancel::cancel);
        for handle in handles.values() {
            handle.leave();
        }
    }

    /// Acquires a free lock on the calling thread, like [`acquire::try_acquire_inline`].
    ///
    /// # Errors
    /// Same as [`acquire::acquire`], and `ERR_CLOSED` after the scope has ended.
    pub fn try_acquire_inline(&self, lock: &LockPath, request: &Request) -> Result<Option<Acquired>> {
        let acquired = acquire::try_acquire_inline(lock, request)?;
        acquired.map(|acquired| self.keep(acquired)).transpose()
    }

    /// Acquires a lock. Waits until the deadline, until `cancel` is raised or until the scope ends. `answer` is called
    /// once, on any thread.
    pub fn acquire(
        self: &Arc<Self>,
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        cancel: &Cancel,
        on_wait: Option<OnWait>,
        answer: impl FnOnce(Result<Acquired>) + Send + 'static,
    ) {
        let (scope, wait) = (Arc::clone(self), cancel.clone());
        self.start(
            cancel,
            Wait::for_lock(lock, request, deadline, on_wait, move |acquired| {
                scope.forget_wait(&wait);
                answer(acquired.and_then(|acquired| scope.keep(acquired)));
            }),
        );
    }

    /// Waits until the lock is free. Ends in the same ways as [`Self::acquire`]. The result is `true` if a dead holder
    /// had left it.
    pub fn wait_until_vacant(
        self: &Arc<Self>,
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        cancel: &Cancel,
        on_wait: Option<OnWait>,
        answer: impl FnOnce(Result<bool>) + Send + 'static,
    ) {
        let (scope, wait) = (Arc::clone(self), cancel.clone());
        self.start(
            cancel,
            Wait::for_vacancy(lock, request, deadline, on_wait, move |orphaned| {
                scope.forget_wait(&wait);
                answer(orphaned);
            }),
        );
    }

    /// Releases a lock of this scope. `failure` is the message of a failed run, for the callers that waited.
    pub fn release(&self, handle: &LockHandle, failure: Option<String>) -> Release {
        let failure = failure.map(|message| FailedRun {
            generation: handle.generation(),
            message,
        });
        let release = handle.release(failure);
        if let Some(holdings) = self.holdings().as_mut() {
            holdings.handles.remove(handle.token());
        }
        release
    }

    fn holdings(&self) -> MutexGuard<'_, Option<Holdings>> {
        self.0.lock()
    }

    fn start(&self, cancel: &Cancel, wait: Wait) {
        if let Some(holdings) = self.holdings().as_mut() {
            holdings.waits.push(cancel.clone());
        }
        Queue::start(wait, cancel);
    }

    fn forget_wait(&self, cancel: &Cancel) {
        if let Some(holdings) = self.holdings().as_mut() {
            holdings.waits.retain(|each| !each.is_same(cancel));
        }
    }

    /// Keeps the lock until it is released or the scope ends, so that the garbage collector does not release it.
    fn keep(&self, acquired: Acquired) -> Result<Acquired> {
        match self.holdings().as_mut() {
            Some(holdings) => {
                let handle = &acquired.handle;
                holdings
                    .handles
                    .insert(handle.token().to_owned(), Arc::clone(handle));
                Ok(acquired)
            }
            None => Err(Error::new(
                Code::Closed,
                "The thread that requested the lock has ended",
            )),
        }
    }
}
