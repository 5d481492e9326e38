//! The deadline machine: a call ends at its deadline or when its caller cancels, whatever its work is doing, and one
//! [`Gate`] decides between that end and the commit.
//!
//! ```text
//! Running ──gate.pass()──▶ Committing      the work may change the target; the end waits for it
//!    └─────gate.close()──▶ Dead            the caller has its answer; the work may only clean up
//! ```
//!
//! A write(2) on a stalled disk cannot be cancelled, so a call never waits for its work to stop: it ends
//! from a timer, and the work, whenever it wakes, finds that it may not commit any more.

use std::time::Duration;

use crate::core::archives::commit::Gate;
use crate::core::failure::{Cause, Failure, Result, Stage};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// How long a commit that began in time may run over the deadline before the call ends without it.
const COMMIT_GRACE: Duration = Duration::from_millis(60);

/// The end of one call.
#[derive(Debug)]
pub struct Call {
    /// When it ends at the latest.
    pub deadline: Deadline,
    /// Decides between its end and its commit.
    pub gate: Gate,
    /// Raised when the call is over before its work: the work stops soon.
    pub stop: Cancel,
}

impl Call {
    /// A call whose commit has not begun.
    pub fn new(deadline: Deadline, stop: Cancel) -> Self {
        Self {
            deadline,
            gate: Gate::new(),
            stop,
        }
    }

    /// Waits for `work`, but not after `end` has resolved with the reason why the call is over, unless the commit has
    /// begun by then. Work that goes on by itself when its future is dropped is barred from committing.
    pub async fn wait_for<T>(
        &self,
        work: impl Future<Output = T>,
        end: impl Future<Output = Failure>,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let over = tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            over = end => over,
        };
        if self.gate.close() {
            self.stop.cancel();
            return Err(over);
        }
        // The commit has begun: an abort comes too late for it, a deadline waits for its last system calls.
        let left = self.deadline.remaining().unwrap_or(Duration::MAX);
        let done = tokio::time::timeout(left.saturating_add(COMMIT_GRACE), work).await;
        done.map_err(|_| {
            // A request that is under way is given up and not repeated; its last one may have been heard.
            self.stop.cancel();
            Failure::new(
                Cause::Timeout,
                "the commit began in time and is still running: it will be seen in full or not at all",
            )
            .during(Stage::Commit)
        })
    }

    /// Resolves when the deadline has passed.
    pub async fn deadline_passed(&self) {
        match self.deadline.instant() {
            Some(instant) => tokio::time::sleep_until(instant.into()).await,
            None => std::future::pending().await,
        }
    }
}
