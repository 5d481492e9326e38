//! Caches: a tree is streamed to a tar.zst in a store and back. A restore stages it, verifies it and commits it
//! atomically.
//!
//! * [`Cache`]: an opened store with the calls [`restore`], [`snapshot`], [`inspect`], [`prune`] and [`probe`].
//! * [`key`], [`pointer`]: layout of a cache in its store. [`ticket`]: links a snapshot to its restore.
//! * [`run`]: time, stages and progress of one call. [`outcome`]: maps the cause of a failure to the outcome of each
//!   call.
//! * [`guards`]: which tree may become a generation. [`conditions`]: whether a store honours conditional writes.
//! * [`ensure`]: one build among many machines. [`lease`]: the same for a job whose result lies elsewhere.
//! * [`store`]: S3, a folder or memory behind one trait.
//! * `trust`: levels of trust with key pairs, and the signatures of pointers.
//! * [`tree_manifest`]: records what was restored, so that an unchanged tree is not written again.
//!
//! A failed call returns a report with its outcome. The target is as it was before the call.

mod background;
mod cache;
mod conditions;
pub mod ensure;
mod guards;
mod inspect;
mod key;
pub mod lease;
mod outcome;
mod pointer;
mod probe;
mod prune;
mod report;
mod restore;
mod run;
mod snapshot;
pub mod store;
mod thread;
mod ticket;
pub mod tree_manifest;
mod trust;

pub use cache::Cache;
pub use conditions::Conditions;
pub use ensure::{
    EnsureCall, EnsureEvent, EnsureFailure, EnsureOptions, EnsureReport, EnsureStep, RecordReport,
};
pub use guards::Guard;
pub use inspect::Info;
pub use key::Key;
pub use lease::{LeaseCall, LeaseEnd, LeaseEvent, LeaseHolder, LeaseOptions, LeaseSettled, LeaseStep};
pub use outcome::{RestoreOutcome, SnapshotOutcome};
pub use pointer::{Pointer, Producer};
pub use probe::Abilities;
pub use report::Report;
pub use restore::{RestoreOptions, RestoreReport};
pub use run::{Budget, CallProgress, Run};
pub use snapshot::{PackOptions, SnapshotOptions, SnapshotReport};
pub use store::{Location, ObjectMeta};
pub use ticket::Ticket;
pub use trust::{Level, LevelAccess, Seal, Trust, TrustOptions};
