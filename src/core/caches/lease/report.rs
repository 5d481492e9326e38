//! What a caller learns during a call, what it answers, and how the call ends.

use crate::core::caches::ensure::Facts;
use crate::core::failure::Failure;

/// The holder of a lease, as its record describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    /// What its record says.
    pub facts: Facts,
    /// When it wrote the record, in milliseconds since the epoch by its wall clock.
    pub written_ms: u64,
    /// Its lease in milliseconds.
    pub ttl_ms: u64,
}

/// What happens during a call.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseEvent {
    /// Another caller runs the job.
    Waiting {
        /// The caller that runs it.
        holder: LeaseHolder,
        /// Milliseconds since the call began.
        waited_ms: f64,
        /// Milliseconds until it may be taken over if its record stays unchanged.
        lease_left_ms: f64,
    },
    /// The run must stop: another caller may take over.
    Lost,
}

/// What the caller does next.
#[derive(Debug)]
pub enum LeaseStep {
    /// Check whether the result is ready: a caller has said so.
    Check,
    /// Check whether the result is ready, and run the job if it is not. It can come again: a run whose lease was lost
    /// does not count.
    Run {
        /// The number of this acquisition.
        generation: u64,
        /// The holder that stopped renewing its lease.
        took_over_from: Option<Box<LeaseHolder>>,
        /// Milliseconds since the call began.
        waited_ms: f64,
    },
    /// The call has ended.
    End {
        /// How.
        end: LeaseEnd,
        /// Milliseconds since the call began.
        waited_ms: f64,
    },
}

/// What the caller answers to a check or a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseSettled {
    /// The result is ready.
    Ready,
    /// The run failed, with a message that the waiters share.
    Failed(String),
    /// The result is not ready, and no failure is shared.
    NotReady,
}

/// How a call ends.
#[derive(Debug, Clone)]
pub enum LeaseEnd {
    /// With the result that the caller reported last.
    Ready,
    /// The run of this caller failed or was given up.
    Failed,
    /// The run of another caller failed, which this call waited for.
    SharedFailure(String),
    /// `timeout` passed while this holder ran the job.
    TimedOut(Option<Box<LeaseHolder>>),
    /// The store ignores conditions, so that nothing can be coordinated over it.
    Unsupported,
    /// A request to the store failed, or the call was cancelled.
    Step(Failure),
}
