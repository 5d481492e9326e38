//! Network traffic of one call: how many bytes were transferred, whether the call waits for the network, and the idle
//! timeout. The transport writes it, and the deadline check reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::start_line::StartLine;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::sync::Mutex;

/// Traffic of one call.
#[derive(Debug)]
pub struct CallContext {
    /// Ends the work of the call.
    pub cancel: Cancel,
    /// Longest time without a byte on a connection.
    pub idle: Duration,
    /// Number of attempts for one request.
    pub attempts: u32,
    moved: AtomicU64,
    sent: AtomicU64,
    waiting: AtomicU32,
    retries: AtomicU32,
    credentials: AtomicBool,
    /// Where the uploads of a race wait for each other.
    start_line: Mutex<Option<Arc<StartLine>>>,
}

impl CallContext {
    /// Creates the context of a call without traffic.
    pub fn new(cancel: Cancel, idle: Duration, attempts: u32) -> Self {
        Self {
            cancel,
            idle,
            attempts: attempts.max(1),
            moved: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            credentials: AtomicBool::new(false),
            start_line: Mutex::new(None),
        }
    }

    /// Counts received bytes.
    pub fn received(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts sent bytes.
    pub fn sent(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that were transferred in either direction.
    pub fn moved_bytes(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Bytes that were sent in bodies, including repetitions.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Marks the call as waiting for the network until the guard is dropped.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    /// Whether the call is waiting for the network.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts a repeated request.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of repeated requests.
    pub fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Holds back the last byte of each upload from now on, or of none.
    pub fn race_from(&self, start_line: Option<Arc<StartLine>>) {
        *self.start_line.lock() = start_line;
    }

    pub(super) fn start_line(&self) -> Option<Arc<StartLine>> {
        self.start_line.lock().clone()
    }

    /// Records whether credentials are being fetched.
    pub fn fetching_credentials(&self, fetching: bool) {
        self.credentials.store(fetching, Ordering::Relaxed);
    }

    /// Whether credentials are being fetched.
    pub fn is_fetching_credentials(&self) -> bool {
        self.credentials.load(Ordering::Relaxed)
    }
}

/// Marks a call as waiting for the network while it exists.
pub struct Waiting(Arc<CallContext>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Pause before the next attempt: 100 ms, doubled each time.
pub(super) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(100) * 2_u32.saturating_pow(attempt.min(6) - 1)
}
