//! Where there is no inotify and no pidfd: a wait ends by its timeout or by another thread, and whoever waits
//! looks again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::core::error::Result;
use crate::core::sys::events::{Interest, WatchId, Woken};
use crate::core::sys::sync::{Condvar, Mutex};

/// Longest wait without a look: nothing else would notice a change.
const TICK: Duration = Duration::from_millis(25);

/// Wakes the thread that waits, from any thread.
#[derive(Debug, Default)]
pub struct Waker(Mutex<bool>, Condvar);

impl Waker {
    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        *self.0.lock() = true;
        self.1.notify_all();
    }
}

/// A process whose end ends a wait: never here.
#[derive(Debug)]
pub struct ProcessWatch(());

impl ProcessWatch {
    /// Always `None`: the tick sees it.
    pub fn new(_pid: u32) -> Option<Self> {
        None
    }
}

/// What one thread waits for.
pub struct Events {
    waker: Arc<Waker>,
}

impl Events {
    /// Nothing is watched.
    pub fn new() -> Result<Self> {
        Ok(Self {
            waker: Arc::default(),
        })
    }

    /// For other threads.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Always `None`: the tick sees changes.
    pub fn watch(&self, _path: &Path, _interest: Interest) -> Option<WatchId> {
        None
    }

    /// Nothing to end.
    pub fn unwatch(&self, _id: WatchId) {}

    /// Waits for another thread, at most for `timeout` or a tick. Everything has to be looked at then.
    pub fn wait(&self, timeout: Option<Duration>, _processes: &[&ProcessWatch]) -> Woken {
        let pause = timeout.map_or(TICK, |timeout| timeout.min(TICK));
        let mut woken = self.waker.0.lock();
        if !*woken {
            woken = self.waker.1.wait_timeout(woken, pause).0;
        }
        *woken = false;
        Woken {
            overflow: true,
            ..Woken::default()
        }
    }
}
