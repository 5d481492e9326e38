//! Caches: a tree is streamed to a tar.zst in a store and back, staged, verified and committed atomically.
//!
//! * [`Cache`]: an opened store, with [`restore`], [`snapshot`], [`inspect`], [`prune`] and [`probe`] on it.
//! * [`key`], [`pointer`]: the layout of a cache in its store. [`ticket`]: links a snapshot to its restore.
//! * [`run`]: the time, the stages and the progress of one call. [`outcome`]: the table from the cause of a failure to
//!   the outcome, one for each verb.
//! * [`guards`]: which tree may become a generation. [`conditions`]: whether a store honours conditional writes.
//! * [`ensure`]: one build among many machines.
//! * [`store`]: S3, a folder or memory behind one trait.
//! * [`tree_manifest`]: what was restored, so that an unchanged tree is left alone.
//!
//! A failed call returns a report with its outcome, and the target is as it was before.

mod cache;
mod conditions;
pub mod ensure;
mod guards;
mod inspect;
mod key;
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

pub use cache::Cache;
pub use conditions::Conditions;
pub use ensure::{EnsureCall, EnsureEvent, EnsureFailure, EnsureOptions, EnsureReport, EnsureStep};
pub use guards::Guard;
pub use inspect::Info;
pub use key::Key;
pub use outcome::{RestoreOutcome, SnapshotOutcome};
pub use pointer::{Pointer, Producer};
pub use probe::Abilities;
pub use report::Report;
pub use restore::{RestoreOptions, RestoreReport};
pub use run::{Budget, CallProgress, Run};
pub use snapshot::{PackOptions, SnapshotOptions, SnapshotReport};
pub use store::{Location, ObjectMeta};
pub use ticket::Ticket;
