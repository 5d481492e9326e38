//! Caches: stream a tree to a tar.zst and back, staged, verified and committed at once.
//!
//! * [`stamp`]: what was restored, so that an unchanged tree is left alone.
//! * [`store`]: S3, a folder or memory behind one trait; ranges, retries, silence.
//! * [`cache`]: an opened store with [`restore`], [`snapshot`], [`inspect`], [`prune`] and [`probe`] on it; [`key`] and [`pointer`] are
//!   its layout, [`run`] is the deadline machine, [`guards`] say what may become a generation, [`ticket`] links a
//!   snapshot to its restore.
//!
//! Whatever the world does wrong is a failure with an outcome; the target is then as it was.

mod cache;
mod conditions;
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
pub mod stamp;
pub mod store;
mod thread;
mod ticket;

pub use cache::Cache;
pub use guards::Guard;
pub use inspect::Info;
pub use key::Key;
pub use outcome::{RestoreOutcome, SnapshotOutcome};
pub use pointer::{Pointer, Producer};
pub use probe::Abilities;
pub use report::Report;
pub use restore::{RestoreOptions, RestoreReport};
pub use run::{Budget, Progress, Run};
pub use snapshot::{Packing, SnapshotOptions, SnapshotReport};
pub use store::{Listed, Location};
pub use ticket::Ticket;
