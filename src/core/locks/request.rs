//! How a lock is requested, and what a waiter is notified of.

use std::time::Duration;

use serde_json::Value;

use super::path::LockPath;
use super::record::Holder;
use crate::core::sys::identity::Liveness;

/// Which mode the caller requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeChoice {
    /// By the type of the filesystem.
    Auto,
    /// flock, or an error where it cannot be trusted.
    Kernel,
    /// No flock to take it.
    Lease,
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The lock.
    Acquire,
    /// That no holder has it.
    Vacancy,
}

/// How a lock is requested: `LockOptions` of api.d.ts.
#[derive(Debug, Clone)]
pub struct Request {
    /// Kernel lock or lease.
    pub mode: ModeChoice,
    /// How long a record may stay unchanged.
    pub lease_ttl: Duration,
    /// How long another program's lock must not have changed before it is taken over.
    pub foreign_stale: Duration,
    /// What the user adds to the record.
    pub metadata: Option<Value>,
    /// `worker_threads.threadId`.
    pub thread_id: u32,
    /// The lock lives on in children that have its descriptor.
    pub covers_children: bool,
    /// Set by the kind of wait.
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

/// Who is in the way of a waiter.
#[derive(Debug, Clone)]
pub struct WaitInfo {
    /// Since the call.
    pub waited: Duration,
    /// `None` while it is just being taken or given back.
    pub holder: Option<Holder>,
    /// Of the holder.
    pub liveness: Liveness,
}

/// Which waiters stand in one queue.
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
