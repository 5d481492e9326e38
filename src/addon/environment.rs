//! Environments: the main thread and each worker thread have one. What an environment holds is let go when
//! it ends, also by `worker.terminate()`, which runs no JavaScript.

use std::collections::HashMap;
use std::sync::LazyLock;

use napi::Env;

use crate::core::sys::sync::Mutex;

/// A name for an environment while it lives.
pub(crate) type EnvironmentId = usize;

type Hook = Box<dyn FnOnce(EnvironmentId) + Send>;

static HOOKS: LazyLock<Mutex<HashMap<EnvironmentId, Vec<Hook>>>> = LazyLock::new(Mutex::default);

/// The environment that calls.
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
    // One hook per environment, with an argument of its own: registering the same pair twice aborts Node
    // (cleanup_queue-inl.h).
    env.add_env_cleanup_hook(id, run)?;
    Ok(())
}

fn run(id: EnvironmentId) {
    let hooks = HOOKS.lock().remove(&id);
    for hook in hooks.into_iter().flatten() {
        // A panic must not unwind into Node's cleanup queue; the kernel frees what a broken hook leaves.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hook(id);
        })));
    }
}
