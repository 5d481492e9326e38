//! Collections that run in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::core::sys::cancel::Cancel;

/// The background collections of one handle.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// Whether a collection waits for the writer lock: one is enough for all publishes before it.
    is_waiting: AtomicBool,
    /// Number of collections that have not ended.
    running: watch::Sender<usize>,
    /// Makes a collection that still waits for the lock leave its work to the next one.
    pub(super) closing: Cancel,
}

/// A collection that has not ended. Dropping it ends it, also when the collection panics: a close would wait forever
/// for one that is never counted as ended.
#[derive(Debug)]
pub(super) struct RunningCollection {
    background: Arc<Background>,
    is_waiting: bool,
}

impl Background {
    /// Begins a collection. `None` if one waits for the lock already: it collects for this caller too.
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

    /// Ends the collections that wait for the lock, and waits until none runs.
    pub(super) async fn close(&self) {
        let mut running = self.running.subscribe();
        if *running.borrow_and_update() == 0 {
            return;
        }
        self.closing.cancel();
        // The sender lives as long as this value, so the wait can only end by the count.
        drop(running.wait_for(|running| *running == 0).await);
    }
}

impl RunningCollection {
    /// Records that it no longer waits for the lock: a publish from now on needs a collection of its own.
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
    fn a_collection_that_panics_has_ended() {
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
