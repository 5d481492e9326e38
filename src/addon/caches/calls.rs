//! Stops the cache calls of a JavaScript environment when it ends.

use std::time::Duration;

use napi::Env;

use crate::addon::per_environment::PerEnvironment;
use crate::addon::runtime;
use crate::core::sys::cancel::Cancel;

/// Most time that an ending environment waits for calls that run. It is long enough to abort an unfinished multipart
/// upload in the store, and for napi to settle the promises of the calls. Settling them after the environment has ended
/// crashes Node (a terminated worker). The wait happens once per environment, whatever the number of its caches.
const TIDY_UP: Duration = Duration::from_millis(50);

static ENDING: PerEnvironment<Cancel> = PerEnvironment::new(Cancel::new, |ending| {
    ending.cancel();
    runtime::wait_for_tasks(TIDY_UP);
});

/// Token that is raised when this environment ends. Its calls stop then, because nobody receives their results.
pub(super) fn ending(env: &Env) -> napi::Result<Cancel> {
    ENDING.of(env)
}

/// Runs the work of a call. When the environment ends, the call is cancelled, and gives up what it holds.
pub(super) async fn until_ending(ending: Cancel, cancel: Cancel, work: impl Future<Output = ()>) {
    tokio::pin!(work);
    tokio::select! {
        biased;
        () = &mut work => {}
        () = ending.cancelled() => {
            cancel.cancel();
            work.await;
        }
    }
}
