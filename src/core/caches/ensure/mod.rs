//! One build among many machines: [`Cache::ensure`](super::Cache::ensure) restores a result, or exactly one caller builds
//! and publishes it while the others wait.
//!
//! * [`protocol`]: what each caller does next, without I/O. A model checker searches it.
//! * `driver`: executes it with a store: `requests` reads and writes the record (`wire`), `build` stages the build,
//!   uploads its tree and commits it. `levels`: results of other trust levels.
//! * [`EnsureCall`]: the side of the caller, which runs the build.

mod build;
mod call;
mod driver;
mod ending;
mod levels;
mod options;
pub mod protocol;
mod report;
mod requests;
mod wire;

pub use call::EnsureCall;
pub use options::EnsureOptions;
pub use report::{EnsureEvent, EnsureFailure, EnsureReport, EnsureStep, Role};
pub use wire::RecordHolder;
pub(super) use wire::records_in;
