//! An archive on the local disk that is about to be uploaded.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::failure::{InStore as _, StoreResult};
use super::part::length;
use crate::core::caches::thread;
use crate::core::error::Result;
use crate::core::sys::dir;

/// An archive on the local disk that is about to be uploaded.
pub struct Spool {
    /// Open file.
    pub file: std::fs::File,
    /// Size in bytes.
    pub size: u64,
    /// Path, for messages.
    pub path: std::path::PathBuf,
}

impl Spool {
    /// Reads these bytes, on a thread that may block.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; length(&range)];
        dir::read_exact_at(&self.file, &mut bytes, range.start, &self.path)?;
        Ok(Bytes::from(bytes))
    }

    /// Reads these bytes on a thread of the spool's filesystem.
    pub(super) async fn read_on_thread(self: Arc<Self>, range: Range<u64>) -> StoreResult<Bytes> {
        let path = self.path.clone();
        let read = thread::on_disk(&path, move || self.read(range)).await;
        read.and_then(|bytes| bytes).in_store()
    }
}
