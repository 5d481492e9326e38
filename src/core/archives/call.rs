//! The deadline of a call. A call ends at its deadline or when its caller cancels it, whatever its work is doing. One
//! [`Gate`] decides between that end and the commit.
//!
//! ```text
//! Running ──gate.pass()──▶ Committing      the work may change the target, and the end waits for it
//!    └─────gate.close()──▶ Dead            the caller has its result, and the work may only clean up
//! ```
//!
//! A write(2) on a stalled disk cannot be cancelled, so a call never waits for its work to stop. A timer ends the call,
//! and when the work continues, it finds that it may no longer commit.

use std::time::Duration;

use crate::core::archives::commit::Gate;
use crate::core::failure::{Cause, Failure, Result, Stage};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// Time that a commit that began before the deadline may run beyond it. Then the call ends without it.
const COMMIT_GRACE: Duration = Duration::from_millis(60);

/// End of one call.
#[derive(Debug)]
pub struct Call {
    /// Time at which it ends at the latest.
    pub deadline: Deadline,
    /// Decides between its end and its commit.
    pub gate: Gate,
    /// Raised when the call ends before its work. The work then stops soon.
    pub stop: Cancel,
}

impl Call {
    /// Creates the state of a call that has not begun to commit.
    pub fn new(deadline: Deadline, stop: Cancel) -> Self {
        Self {
            deadline,
            gate: Gate::new(),
            stop,
        }
    }

    /// Waits for `work`, until `end` resolves with the reason for ending the call. If the commit has begun by then,
    /// waits for it. Work that continues after its future was dropped can no longer commit.
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
        // The commit has begun. An abort is too late for it, and a deadline waits for its last system calls.
        let left = self.deadline.remaining().unwrap_or(Duration::MAX);
        let done = tokio::time::timeout(left.saturating_add(COMMIT_GRACE), work).await;
        done.map_err(|_| {
            // A request in progress is abandoned and not repeated. The last one may have reached the store.
            self.stop.cancel();
            Failure::new(
                Cause::Timeout,
                "the commit began before the deadline and is still running. It will become visible completely or not at all",
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
