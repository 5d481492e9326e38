//! The lock that one builder holds over all processes.

use std::sync::{Mutex, PoisonError};

use napi_derive::napi;

use crate::core::bundles::FileLock;

/// The build lock.
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
    /// Lets go.
    #[napi]
    pub fn release(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
