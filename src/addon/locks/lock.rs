//! A lock that is held.

use std::path::Path;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;

use super::events::{CallEvents, json};
use super::options::NativeMode;
use crate::addon::error::Reply;
use crate::addon::number::number;
use crate::addon::runtime;
use crate::core::locks::{Acquired, LockHandle, LockScope, Release};

type Promise<'env, T> = napi::Result<PromiseRaw<'env, Reply<T>>>;

/// A lock that is held.
#[napi]
pub struct NativeLock {
    handle: Arc<LockHandle>,
    scope: Arc<LockScope>,
    waited_since: Option<u64>,
}

impl NativeLock {
    pub(super) fn new(acquired: Acquired, scope: &Arc<LockScope>, events: &CallEvents) -> Self {
        let Acquired { handle, waited_since } = acquired;
        handle.on_lost(events.on_lost());
        Self {
            handle,
            scope: Arc::clone(scope),
            waited_since,
        }
    }
}

#[napi]
impl NativeLock {
    /// The random name of this taking.
    #[napi(getter)]
    pub fn token(&self) -> String {
        self.handle.token().to_owned()
    }

    /// The fencing token.
    #[napi(getter)]
    pub fn generation(&self) -> f64 {
        number(self.handle.generation())
    }

    /// How it is kept.
    #[napi(getter, ts_return_type = "'kernel' | 'lease'")]
    pub fn mode(&self) -> NativeMode {
        self.handle.mode().into()
    }

    /// The dead holder that was followed: `Holder` as JSON.
    #[napi(getter)]
    pub fn took_over_from(&self) -> Option<String> {
        self.handle.took_over_from().as_ref().map(json)
    }

    /// The generation that had the lock when the wait began.
    #[napi(getter)]
    pub fn waited_since(&self) -> Option<f64> {
        self.waited_since.map(number)
    }

    /// The last failed run: `{ generation, message }` as JSON.
    #[napi(getter)]
    pub fn failure(&self) -> Option<String> {
        self.handle.inherited_failure().map(json)
    }

    /// Fails unless the lock is held.
    #[napi(ts_return_type = "Reply<void>")]
    pub fn assert_held(&self) -> napi::Result<Reply<()>> {
        runtime::guarded(|| self.handle.assert_held())
    }

    /// Tells waiters what is being done.
    #[napi]
    pub fn progress(&self, phase: String) {
        self.handle.progress(&phase);
    }

    /// Renames unless a later generation exists.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn publish<'env>(&self, env: &'env Env, from: String, to: String) -> Promise<'env, ()> {
        let handle = Arc::clone(&self.handle);
        let place = handle.lock().directory().to_path_buf();
        runtime::blocking(env, &place, move || {
            handle.publish_file(Path::new(&from), Path::new(&to))
        })
    }

    /// The descriptor that children keep the lock with.
    #[napi(ts_return_type = "Reply<number>")]
    pub fn child_fd(&self) -> napi::Result<Reply<i32>> {
        runtime::guarded(|| self.handle.child_fd())
    }

    /// Gives the lock back; `false` where it was lost. With the message of a failed run for those who waited.
    #[napi(ts_return_type = "Reply<boolean>")]
    pub fn release(&self, failure: Option<String>) -> napi::Result<Reply<bool>> {
        runtime::guarded(|| Ok(self.scope.release(&self.handle, failure) == Release::Released))
    }
}
