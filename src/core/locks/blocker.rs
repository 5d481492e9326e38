//! What keeps an attempt from the lock.

use std::time::Duration;

use super::record::Holder;
use crate::core::sys::identity::Liveness;

/// What kept a step from acquiring the lock.
#[derive(Debug, Clone)]
pub(super) struct Blocker {
    pub(super) holder: Option<Holder>,
    pub(super) liveness: Liveness,
    /// A process of this machine whose end is worth a look.
    pub(super) process: Option<u32>,
    /// The time until what was observed has not changed for its whole window.
    pub(super) retry_after: Option<Duration>,
    /// The lock directory of another program is in the way.
    pub(super) is_foreign: bool,
}
