//! The scope of each environment.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use napi::Env;

use crate::addon::environment::{self, EnvironmentId};
use crate::core::locks::LockScope;
use crate::core::sys::sync::Mutex;

static SCOPES: LazyLock<Mutex<HashMap<EnvironmentId, Arc<LockScope>>>> = LazyLock::new(Mutex::default);

/// The scope of the environment that calls. It ends with it.
pub(super) fn scope(env: &Env) -> napi::Result<Arc<LockScope>> {
    let id = environment::id(env);
    let mut scopes = SCOPES.lock();
    if let Some(scope) = scopes.get(&id) {
        return Ok(Arc::clone(scope));
    }
    let scope = LockScope::new();
    scopes.insert(id, Arc::clone(&scope));
    drop(scopes);
    environment::on_exit(env, close_scope)?;
    Ok(scope)
}

fn close_scope(id: EnvironmentId) {
    let scope = SCOPES.lock().remove(&id);
    if let Some(scope) = scope {
        scope.close();
    }
}
