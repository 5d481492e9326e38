//! What stops the calls of one environment on its caches when it ends.

use std::time::Duration;

use napi::Env;

use crate::addon::per_environment::PerEnvironment;
use crate::core::sys::cancel::Cancel;

/// Long enough that an abandoned multipart upload is told to the store and that napi has settled the promises of the
/// calls, which it must not do when their environment is gone (a worker that was terminated then crashes Node); short
/// enough that nobody waits for an exit. Once for an environment, whatever the number of its caches.
const TIDY_UP: Duration = Duration::from_millis(50);

static ENDING: PerEnvironment<Cancel> = PerEnvironment::new(Cancel::new, |ending| {
    ending.cancel();
    std::thread::sleep(TIDY_UP);
});

/// Raised when this environment ends: its calls stop, and nobody is left to be told.
pub(super) fn ending(env: &Env) -> napi::Result<Cancel> {
    ENDING.of(env)
}
