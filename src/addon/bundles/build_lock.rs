//! Binding of the build lock, which serialises the builders of all processes.

use napi_derive::napi;

use crate::core::bundles::FileLock;
use crate::core::sys::sync::Mutex;

/// A held build lock.
#[napi]
pub struct NativeBuildLock {
    lock: Mutex<Option<FileLock>>,
}

impl NativeBuildLock {
    pub(super) fn new(lock: FileLock) -> Self {
        Self {
            lock: Mutex::new(Some(lock)),
        }
    }
}

#[napi]
impl NativeBuildLock {
    /// Releases the lock.
    #[napi]
    pub fn release(&self) {
        drop(self.lock.lock().take());
    }
}
