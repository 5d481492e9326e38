//! The calls of one environment on its caches: stopped when it ends, and waited for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use napi::Env;

use crate::core::sys::cancel::Cancel;

use super::super::environment::{self, EnvironmentId};

/// Long enough that an abandoned multipart upload is told to the store, short enough that nobody waits for an exit.
const TIDY_UP: Duration = Duration::from_millis(50);

static ALL: LazyLock<Mutex<HashMap<EnvironmentId, Arc<Calls>>>> = LazyLock::new(Mutex::default);

/// What runs, whatever the number of caches that are open.
#[derive(Default)]
pub(super) struct Calls {
    /// Raised when the environment ends: its calls stop, and nobody is left to be told.
    pub(super) ending: Cancel,
    running: Mutex<usize>,
    idle: Condvar,
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
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Running(Arc::clone(self))
    }

    fn end(&self) {
        self.ending.cancel();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.idle
                .wait_timeout_while(running, TIDY_UP, |running| *running > 0),
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.idle.notify_all();
    }
}
