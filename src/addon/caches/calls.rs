//! The calls of one environment on its caches: stopped when it ends, and waited for a moment.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use napi::Env;

use crate::core::sys::cancel::Cancel;

use super::super::environment::{self, EnvironmentId};

/// Long enough that an abandoned multipart upload is told to the store and that napi has settled the promises of the
/// calls, which it must not do when their environment is gone; short enough that nobody waits for an exit.
const TIDY_UP: Duration = Duration::from_millis(50);

static ALL: LazyLock<Mutex<HashMap<EnvironmentId, Arc<Calls>>>> = LazyLock::new(Mutex::default);

/// What runs, whatever the number of caches that are open.
#[derive(Default)]
pub(super) struct Calls {
    /// Raised when the environment ends: its calls stop, and nobody is left to be told.
    pub(super) ending: Cancel,
    activity: Mutex<Activity>,
}

#[derive(Default)]
struct Activity {
    running: usize,
    /// When a call ended last.
    ended: Option<Instant>,
}

/// One call that runs.
pub(super) struct Running(Arc<Calls>);

impl Calls {
    /// Those of this environment.
    pub(super) fn of(env: &Env) -> napi::Result<Arc<Self>> {
        let id = environment::id(env);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&id) {
            return Ok(Arc::clone(known));
        }
        let calls = Arc::new(Self::default());
        all.insert(id, Arc::clone(&calls));
        drop(all);
        environment::on_exit(env, |id| {
            let calls = ALL.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(calls) = calls {
                calls.end();
            }
        })?;
        Ok(calls)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.activity().running += 1;
        Running(Arc::clone(self))
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the calls. Nobody waits where none runs and none has ended just now.
    fn end(&self) {
        self.ending.cancel();
        let activity = self.activity();
        let is_busy = activity.running > 0 || activity.ended.is_some_and(|ended| ended.elapsed() < TIDY_UP);
        drop(activity);
        if is_busy {
            std::thread::sleep(TIDY_UP);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut activity = self.0.activity();
        activity.running -= 1;
        activity.ended = Some(Instant::now());
    }
}
