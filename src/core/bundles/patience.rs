//! How long a call waits.

use std::time::Duration;

use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// How long to wait, and what ends the wait early.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Time after which a wait ends with `ERR_TIMEOUT`, from its beginning on; `None` is never.
    pub timeout: Option<Duration>,
    /// Ends the wait with `ERR_ABORTED`.
    pub cancel: Cancel,
}

impl Patience {
    /// Waits so long and cannot be cancelled.
    pub fn for_at_most(duration: Duration) -> Self {
        Self {
            timeout: Some(duration),
            cancel: Cancel::new(),
        }
    }

    /// The end of a wait that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        self.timeout.map_or(Deadline::NEVER, Deadline::after)
    }
}
