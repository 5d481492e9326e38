//! Parameters of a lock request, and events of a wait.

use std::time::Duration;

use serde_json::Value;

use super::path::LockPath;
use super::record::Holder;
use crate::core::sys::identity::Liveness;

/// Requested mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeChoice {
    /// Selected by the filesystem.
    Auto,
    /// flock, or an error if the filesystem is not trusted.
    Kernel,
    /// Acquires without flock.
    Lease,
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goal {
    /// Acquiring the lock.
    Acquire,
    /// A free lock, without acquiring it.
    Vacancy,
}

/// Parameters of a lock request: `LockOptions` of the public API.
#[derive(Debug, Clone)]
pub struct Request {
    /// Requested mode.
    pub mode: ModeChoice,
    /// Time for which a record may stay unchanged.
    pub lease_ttl: Duration,
    /// Time without change after which another program's lock is taken over.
    pub foreign_stale: Duration,
    /// Metadata of the user, added to the record.
    pub metadata: Option<Value>,
    /// Value of `worker_threads.threadId`.
    pub thread_id: u32,
    /// Whether children that inherit the descriptor keep the lock.
    pub covers_children: bool,
    /// What the caller waits for. Set by the kind of call.
    pub goal: Goal,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            mode: ModeChoice::Auto,
            lease_ttl: Duration::from_secs(30),
            foreign_stale: Duration::from_mins(10),
            metadata: None,
            thread_id: 0,
            covers_children: false,
            goal: Goal::Acquire,
        }
    }
}

/// Current blocker of a waiter.
#[derive(Debug, Clone)]
pub struct WaitInfo {
    /// Time since the call.
    pub waited: Duration,
    /// Current holder. `None` while the lock is being acquired or released.
    pub holder: Option<Holder>,
    /// Whether the holder is alive.
    pub liveness: Liveness,
}

/// Identifies the queue of a waiter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct QueueKey {
    pub(super) lock: LockPath,
    mode: ModeChoice,
    pub(super) goal: Goal,
}

impl QueueKey {
    pub(super) fn new(lock: &LockPath, request: &Request) -> Self {
        Self {
            lock: lock.clone(),
            mode: request.mode,
            goal: request.goal,
        }
    }
}
