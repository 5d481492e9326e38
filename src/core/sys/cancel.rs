//! Cancellation that reaches both threads that block and futures that wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::deadline::Deadline;

/// A flag that is raised once and never lowered; clones share it.
#[derive(Debug, Clone)]
pub struct Cancel {
    raised: Arc<watch::Sender<bool>>,
    parked: Arc<(std::sync::Mutex<()>, std::sync::Condvar)>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self {
            raised: Arc::new(watch::Sender::new(false)),
            parked: Arc::default(),
        }
    }

    /// Raises the flag and wakes everybody who waits for it.
    pub fn cancel(&self) {
        self.raised.send_replace(true);
        let guard = self
            .parked
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.parked.1.notify_all();
        drop(guard);
    }

    /// Whether both are clones of one flag.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.raised, &other.raised)
    }

    /// Whether the flag is raised.
    pub fn is_cancelled(&self) -> bool {
        *self.raised.borrow()
    }

    /// `ERR_ABORTED` once the flag is raised.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Self::error())
        } else {
            Ok(())
        }
    }

    /// The error of a cancelled call.
    pub fn error() -> Error {
        Error::new(Code::Aborted, "the operation was aborted")
    }

    /// Resolves when the flag is raised.
    pub async fn cancelled(&self) {
        let mut receiver = self.raised.subscribe();
        // The sender lives as long as `self`, so the wait can only end by the flag.
        let _raised = receiver.wait_for(|raised| *raised).await;
    }

    /// Blocks this thread for at most `pause`, until the flag is raised or the deadline has passed.
    pub fn sleep(&self, pause: Duration, deadline: Deadline) {
        let pause = deadline.remaining().map_or(pause, |left| pause.min(left));
        let guard = self
            .parked
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.is_cancelled() {
            drop(self.parked.1.wait_timeout(guard, pause));
        }
    }
}
