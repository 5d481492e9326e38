//! Binding of held locks.

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

/// A held lock.
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
    /// Random id of this acquisition.
    #[napi(getter)]
    pub fn token(&self) -> String {
        self.handle.token().to_owned()
    }

    /// Fencing token. Grows with each acquisition of the path.
    #[napi(getter)]
    pub fn generation(&self) -> f64 {
        number(self.handle.generation())
    }

    /// How the lock is held.
    #[napi(getter, ts_return_type = "'kernel' | 'lease'")]
    pub fn mode(&self) -> NativeMode {
        self.handle.mode().into()
    }

    /// Dead holder whose lock was taken over, as JSON of `Holder`.
    #[napi(getter)]
    pub fn took_over_from(&self) -> Option<String> {
        self.handle.took_over_from().as_ref().map(json)
    }

    /// Generation that held the lock when the wait began.
    #[napi(getter)]
    pub fn waited_since(&self) -> Option<f64> {
        self.waited_since.map(number)
    }

    /// Last failed run, as JSON of `{ generation, message }`.
    #[napi(getter)]
    pub fn failure(&self) -> Option<String> {
        self.handle.inherited_failure().map(json)
    }

    /// Fails with `ERR_LOCK_LOST` unless the lock is held.
    #[napi(ts_return_type = "Reply<void>")]
    pub fn assert_held(&self) -> napi::Result<Reply<()>> {
        runtime::guarded(|| self.handle.assert_held())
    }

    /// Records what the holder is doing, for waiters to see.
    #[napi]
    pub fn progress(&self, phase: String) {
        self.handle.progress(&phase);
    }

    /// Renames `from` to `to`. Rejects with `ERR_FENCED` if a later generation of the lock exists.
    #[napi(ts_return_type = "Promise<Reply<void>>")]
    pub fn publish<'env>(&self, env: &'env Env, from: String, to: String) -> Promise<'env, ()> {
        let handle = Arc::clone(&self.handle);
        let place = handle.lock().directory().to_path_buf();
        runtime::blocking(env, &place, move || {
            handle.publish_file(Path::new(&from), Path::new(&to))
        })
    }

    /// File descriptor that children inherit to keep the lock. Fails with `ERR_INVALID_ARGUMENT` without
    /// `coverChildren`.
    #[napi(ts_return_type = "Reply<number>")]
    pub fn child_fd(&self) -> napi::Result<Reply<i32>> {
        runtime::guarded(|| self.handle.child_fd())
    }

    /// Releases the lock. Returns `false` if it was lost. `failure` is the message of a failed run, for the callers
    /// that waited.
    #[napi(ts_return_type = "Reply<boolean>")]
    pub fn release(&self, failure: Option<String>) -> napi::Result<Reply<bool>> {
        runtime::guarded(|| Ok(self.scope.release(&self.handle, failure) == Release::Released))
    }
}
