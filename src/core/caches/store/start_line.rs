//! Lets several uploads race: the last byte of each is held back until the server has the rest of all of them.
//!
//! A server that checks the condition of a write when its headers arrive has then checked all of them before it stores
//! the first one. A server that reads the whole body first gets all of them at the same moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Where uploads wait for the others.
#[derive(Debug, Default)]
pub struct StartLine {
    waiting: watch::Sender<usize>,
    has_started: watch::Sender<bool>,
}

impl StartLine {
    /// Waits for the start.
    pub(super) async fn wait(self: Arc<Self>) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let mut has_started = self.has_started.subscribe();
        drop(has_started.wait_for(|has_started| *has_started).await);
    }

    /// Starts the race `pause` after this number of uploads waits, or after `limit` has passed: an upload that failed
    /// early never waits.
    pub async fn start(&self, uploads: usize, limit: Duration, pause: Duration) {
        let mut waiting = self.waiting.subscribe();
        let are_there = waiting.wait_for(|waiting| *waiting >= uploads);
        drop(tokio::time::timeout(limit, are_there).await);
        tokio::time::sleep(pause).await;
        self.has_started.send_replace(true);
    }
}
