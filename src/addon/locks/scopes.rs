//! Lock scope of each environment.

use std::sync::Arc;

use napi::Env;

use crate::addon::per_environment::PerEnvironment;
use crate::core::locks::LockScope;

static SCOPES: PerEnvironment<Arc<LockScope>> = PerEnvironment::new(LockScope::new, |scope| scope.close());

/// Returns the scope of the calling environment. It ends with the environment.
pub(super) fn scope(env: &Env) -> napi::Result<Arc<LockScope>> {
    SCOPES.of(env)
}
