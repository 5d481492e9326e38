//! JavaScript environments: the main thread and each worker thread have one. When an environment ends, everything that
//! it holds is released. This includes `worker.terminate()`, which runs no JavaScript.

use std::collections::HashMap;
use std::sync::LazyLock;

use napi::Env;

use crate::core::sys::sync::Mutex;

/// Identifies an environment while it exists.
pub(crate) type EnvironmentId = usize;

type Hook = Box<dyn FnOnce(EnvironmentId) + Send>;

static HOOKS: LazyLock<Mutex<HashMap<EnvironmentId, Vec<Hook>>>> = LazyLock::new(Mutex::default);

/// Id of the calling environment.
pub(crate) fn id(env: &Env) -> EnvironmentId {
    env.raw().addr()
}

/// Runs `hook` once when this environment ends.
pub(crate) fn on_exit(env: &Env, hook: impl FnOnce(EnvironmentId) + Send + 'static) -> napi::Result<()> {
    let id = id(env);
    let mut hooks = HOOKS.lock();
    if let Some(known) = hooks.get_mut(&id) {
        known.push(Box::new(hook));
        return Ok(());
    }
    hooks.insert(id, vec![Box::new(hook)]);
    drop(hooks);
    // One hook per environment, with a distinct argument: registering the same pair twice aborts Node
    // (cleanup_queue-inl.h).
    env.add_env_cleanup_hook(id, run)?;
    Ok(())
}

fn run(id: EnvironmentId) {
    let hooks = HOOKS.lock().remove(&id);
    for hook in hooks.into_iter().flatten() {
        // A panic must not unwind into Node's cleanup queue. The kernel releases what a broken hook leaves.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hook(id);
        })));
    }
}
