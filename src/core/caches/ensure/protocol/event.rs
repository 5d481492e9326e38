//! What a participant is told, and what it answers.

use super::record::{Condition, Found, Record};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event<V, R> {
    /// The answer to [`Action::Read`]; none if the store did not answer.
    Read(Option<Found<V, R>>),
    /// The answer to [`Action::Write`].
    Written(Written<V>),
    /// The time that [`Participant::wakes_in`] named has passed.
    Wake,
    /// The build has ended, and its result was uploaded.
    BuildEnded(Built<R>),
    /// The result that [`Action::Restore`] named does not verify.
    Unrestorable,
    /// The caller does not wait any longer.
    Leave(Leaving),
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Written<V> {
    /// It landed as this version.
    Landed(V),
    /// The store refused it (404, 409, 412). An earlier copy of the same write may have landed.
    Refused,
    /// The store did not answer, or not with a decision (timeout, reset, 429, 5xx). It may land later.
    Unknown,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Built<R> {
    /// With a result whose blob was uploaded.
    Ready(R),
    /// It failed, with a message that the waiters share.
    Failed(String),
    /// Without a result and without a failure that others share: it was aborted, or the upload failed.
    GivenUp,
}

/// Why a caller does not wait any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// Its deadline passed. A build that has begun goes on.
    Deadline,
    /// It was cancelled.
    Cancelled,
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action<V, R> {
    /// Reads the record. Abandons the request that is outstanding.
    Read,
    /// Writes the record if the condition holds.
    Write {
        /// What is written.
        record: Record<R>,
        /// Under which condition.
        condition: Condition<V>,
    },
    /// Starts the build. [`Event::BuildEnded`] follows.
    Build,
    /// Stops the build: the lease is lost, or the caller cancelled. [`Event::BuildEnded`] still follows.
    StopBuild,
    /// Restores this result. [`Event::Unrestorable`] follows if it does not verify; otherwise the call ends.
    Restore(R),
    /// Ends the call.
    End(Ending<R>),
}

/// How a participant ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ending<R> {
    /// It has published this result.
    Built(R),
    /// It has a result that it could not publish.
    Unpublished(R),
    /// A build failed: its own, or one that it waited for.
    Failed {
        /// The message of the failure.
        message: String,
        /// Whether another caller's build failed.
        is_shared: bool,
    },
    /// Its own build ended without a result.
    GivenUp,
    /// The caller left.
    Left(Leaving),
    /// It has to build, and this caller may not write.
    ReadOnly,
    /// The store failed, or refused every write, for longer than [`Rules::patience_ms`].
    Trouble,
}
