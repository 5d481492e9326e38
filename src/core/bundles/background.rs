//! Collections that run in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::core::sys::cancel::Cancel;

/// Background collections of one store handle.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// Whether a collection waits for the writer lock. It covers all publishes before it acquires the lock.
    is_waiting: AtomicBool,
    /// Number of running collections.
    running: watch::Sender<usize>,
    /// Stops the collections that still wait for the lock. The next collection does their work.
    pub(super) closing: Cancel,
}

/// A running collection. Dropping it ends it, even when the collection panics. Otherwise `close` would wait forever for
/// a collection that is never counted as ended.
#[derive(Debug)]
pub(super) struct RunningCollection {
    background: Arc<Background>,
    is_waiting: bool,
}

impl Background {
    /// Begins a collection. Returns `None` if another one is already waiting for the lock: that one also covers this
    /// caller.
    pub(super) fn begin(self: &Arc<Self>) -> Option<RunningCollection> {
        if self.is_waiting.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.running.send_modify(|running| *running += 1);
        Some(RunningCollection {
            background: Arc::clone(self),
            is_waiting: true,
        })
    }

    /// Stops the collections that wait for the lock, and waits until none is running.
    pub(super) async fn close(&self) {
        let mut running = self.running.subscribe();
        if *running.borrow_and_update() == 0 {
            return;
        }
        self.closing.cancel();
        // The sender exists as long as this value, so only the count can end the wait.
        drop(running.wait_for(|running| *running == 0).await);
    }
}

impl RunningCollection {
    /// Records that this collection has acquired the lock. A publish from now on needs a new collection.
    pub(super) fn stop_waiting(&mut self) {
        self.is_waiting = false;
        self.background.is_waiting.store(false, Ordering::Release);
    }
}

impl Drop for RunningCollection {
    fn drop(&mut self) {
        if self.is_waiting {
            self.stop_waiting();
        }
        self.background.running.send_modify(|running| *running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_collection_counts_as_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let background = Arc::<Background>::default();
            for waits in [true, false] {
                let mut collection = background.begin().expect("no other one waits");
                assert!(background.begin().is_none(), "one waits already");
                let task = tokio::spawn(async move {
                    if !waits {
                        collection.stop_waiting();
                    }
                    panic!("a bug in a collection, which waits: {}", collection.is_waiting);
                });
                assert!(task.await.expect_err("it panics").is_panic());
                background.close().await;
            }
            assert!(background.begin().is_some(), "none waits any more");
        });
    }
}
