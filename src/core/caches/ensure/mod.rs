//! One build among many machines: [`Cache::ensure`](super::Cache::ensure) restores a result, or exactly one caller builds
//! and publishes it while the others wait.
//!
//! * [`protocol`]: what each caller does next, without I/O. A model checker searches it.
//! * `driver`: executes it with a store: `requests` reads and writes the record (`wire`), `build` stages the build,
//!   uploads its tree and commits it. `levels`: results of other trust levels.
//! * `inspect`: lists records for humans.
//! * [`EnsureCall`]: the side of the caller, which runs the build.

mod build;
mod call;
mod driver;
mod ending;
mod inspect;
mod levels;
mod options;
pub(super) mod pace;
pub mod protocol;
mod report;
pub(super) mod requests;
pub(super) mod wire;

pub use call::EnsureCall;
pub(super) use driver::precise;
pub use inspect::{RecordFacts, RecordReport};
pub use options::EnsureOptions;
pub use report::{EnsureEvent, EnsureFailure, EnsureReport, EnsureStep, Role};
pub(super) use wire::records_in;
pub use wire::{Facts, RecordHolder};
