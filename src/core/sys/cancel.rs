//! Cancellation for blocking threads and for futures.

use std::fmt;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::deadline::Deadline;
use crate::core::sys::sync::{Condvar, Mutex};

type Call = Box<dyn FnOnce() + Send>;

/// A flag that is raised once and never lowered. Clones share it.
#[derive(Clone)]
pub struct Cancel {
    raised: Arc<watch::Sender<bool>>,
    /// Callbacks for the raise, and the condition on which threads sleep until then.
    parked: Arc<(Mutex<Vec<Call>>, Condvar)>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Cancel")
            .field(&self.is_cancelled())
            .finish()
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// Creates a flag that is not raised.
    pub fn new() -> Self {
        Self {
            raised: Arc::new(watch::Sender::new(false)),
            parked: Arc::default(),
        }
    }

    /// Raises the flag and wakes all its waiters.
    pub fn cancel(&self) {
        self.raised.send_replace(true);
        let calls = std::mem::take(&mut *self.calls());
        self.parked.1.notify_all();
        for call in calls {
            call();
        }
    }

    /// Calls `call` once when the flag is raised, immediately if it is already raised.
    pub fn on_raise(&self, call: impl FnOnce() + Send + 'static) {
        let mut calls = self.calls();
        if self.is_cancelled() {
            drop(calls);
            call();
        } else {
            calls.push(Box::new(call));
        }
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.parked.0.lock()
    }

    /// Whether both are clones of one flag.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.raised, &other.raised)
    }

    /// Whether the flag is raised.
    pub fn is_cancelled(&self) -> bool {
        *self.raised.borrow()
    }

    /// Fails with `ERR_ABORTED` if the flag is raised.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Self::error())
        } else {
            Ok(())
        }
    }

    /// Error of a cancelled call.
    pub fn error() -> Error {
        Error::new(Code::Aborted, "The operation was aborted")
    }

    /// Resolves when the flag is raised.
    pub async fn cancelled(&self) {
        let mut receiver = self.raised.subscribe();
        // The sender exists as long as `self`, so only the flag can end the wait.
        let _raised = receiver.wait_for(|raised| *raised).await;
    }

    /// Blocks this thread for at most `pause`, until the flag is raised or the deadline has passed.
    pub fn sleep(&self, pause: Duration, deadline: Deadline) {
        let pause = deadline.remaining().map_or(pause, |left| pause.min(left));
        let guard = self.calls();
        if !self.is_cancelled() {
            drop(self.parked.1.wait_timeout(guard, pause));
        }
    }
}
