//! Timeout and cancellation of a call that waits.

use std::time::Duration;

use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// Timeout and cancellation of a call that waits.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Time after which the wait fails with `ERR_TIMEOUT`, measured from its start. `None` means no limit.
    pub timeout: Option<Duration>,
    /// Makes the wait fail with `ERR_ABORTED`.
    pub cancel: Cancel,
}

impl Patience {
    /// Limits the wait to `duration`, without cancellation.
    pub fn for_at_most(duration: Duration) -> Self {
        Self {
            timeout: Some(duration),
            cancel: Cancel::new(),
        }
    }

    /// Deadline of a wait that starts now.
    pub(super) fn deadline(&self) -> Deadline {
        self.timeout.map_or(Deadline::NEVER, Deadline::after)
    }
}
