//! The scope of each environment.

use std::sync::Arc;

use napi::Env;

use crate::addon::per_environment::PerEnvironment;
use crate::core::locks::LockScope;

static SCOPES: PerEnvironment<Arc<LockScope>> = PerEnvironment::new(LockScope::new, |scope| scope.close());

/// The scope of the environment that calls. It ends with it.
pub(super) fn scope(env: &Env) -> napi::Result<Arc<LockScope>> {
    SCOPES.of(env)
}
