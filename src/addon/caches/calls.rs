//! What stops the calls of one environment on its caches when it ends.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use napi::Env;

use crate::core::sys::cancel::Cancel;
use crate::core::sys::sync::Mutex;

use super::super::environment::{self, EnvironmentId};

/// Long enough that an abandoned multipart upload is told to the store and that napi has settled the promises of the
/// calls, which it must not do when their environment is gone (a worker that was terminated then crashes Node); short
/// enough that nobody waits for an exit. Once for an environment, whatever the number of its caches.
const TIDY_UP: Duration = Duration::from_millis(50);

static ENDING: LazyLock<Mutex<HashMap<EnvironmentId, Cancel>>> = LazyLock::new(Mutex::default);

/// Raised when this environment ends: its calls stop, and nobody is left to be told.
pub(super) fn ending(env: &Env) -> napi::Result<Cancel> {
    let id = environment::id(env);
    let mut all = ENDING.lock();
    if let Some(known) = all.get(&id) {
        return Ok(known.clone());
    }
    let ending = Cancel::new();
    all.insert(id, ending.clone());
    drop(all);
    environment::on_exit(env, |id| {
        let ending = ENDING.lock().remove(&id);
        if let Some(ending) = ending {
            ending.cancel();
            std::thread::sleep(TIDY_UP);
        }
    })?;
    Ok(ending)
}
