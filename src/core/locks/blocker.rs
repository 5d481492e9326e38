//! What prevents an attempt from acquiring the lock.

use std::time::Duration;

use super::record::Holder;
use crate::core::sys::identity::Liveness;

/// What prevented a step from acquiring the lock.
#[derive(Debug, Clone)]
pub(super) struct Blocker {
    pub(super) holder: Option<Holder>,
    pub(super) liveness: Liveness,
    /// Pid of the holder on this machine, to watch for its end.
    pub(super) process: Option<u32>,
    /// Remaining time until the observed state counts as stale.
    pub(super) retry_after: Option<Duration>,
    /// Whether the lock directory of another program blocks the attempt.
    pub(super) is_foreign: bool,
}
