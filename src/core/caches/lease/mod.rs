//! Single flight over a store, for a job whose result lies elsewhere: [`Cache::lease`](super::Cache::lease) asks the caller
//! whether the result is ready, or exactly one caller runs the job while the others wait.
//!
//! It executes the protocol of [`ensure`](super::ensure) with a record of its own. `ready` has no pointer there: each caller
//! checks the result itself.
//!
//! * `driver`: executes the protocol with a store.
//! * [`LeaseCall`]: the side of the caller, which checks for the result and runs the job.

mod call;
mod driver;
mod options;
mod report;

pub use call::LeaseCall;
pub use options::LeaseOptions;
pub use report::{LeaseEnd, LeaseEvent, LeaseHolder, LeaseSettled, LeaseStep};
