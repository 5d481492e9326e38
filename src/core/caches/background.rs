//! What calls leave to background threads after they have returned: tree manifests, and trees that were replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A filesystem that hangs must not stop the close of a cache.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts the background work of one cache.
#[derive(Debug, Clone)]
pub(super) struct Background(Arc<watch::Sender<usize>>);

/// Work that counts until this value is dropped.
#[derive(Debug)]
pub(super) struct BackgroundWork(Background);

impl Default for Background {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Background {
    pub(super) fn begin(&self) -> BackgroundWork {
        self.0.send_modify(|count| *count += 1);
        BackgroundWork(self.clone())
    }

    /// Waits up to 5 s until all work has ended.
    pub(super) async fn wait_until_done(&self) {
        let mut count = self.0.subscribe();
        let ended = count.wait_for(|count| *count == 0);
        drop(tokio::time::timeout(PATIENCE, ended).await);
    }
}

impl Drop for BackgroundWork {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
