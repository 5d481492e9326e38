//! What one call's network traffic does: how much has moved, who is waiting for it, how long silence may
//! last. Written by the transport, read by the deadline machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::core::sys::cancel::Cancel;

/// The traffic of one restore or snapshot.
#[derive(Debug)]
pub struct CallContext {
    /// Ends the call's work.
    pub cancel: Cancel,
    /// How long nothing may move on a connection that is waited for.
    pub idle: Duration,
    /// How often one request may be tried.
    pub attempts: u32,
    moved: AtomicU64,
    sent: AtomicU64,
    waiting: AtomicU32,
    retries: AtomicU32,
    credentials: AtomicBool,
}

impl CallContext {
    /// The context of a call that has moved nothing.
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

    /// Bytes that moved in either direction.
    pub fn moved_bytes(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Bytes that were sent as bodies, repetitions included.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Notes that something is waiting for the network until the guard is dropped.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    /// Whether somebody waits for the network now.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts a request that is tried again.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were tried again.
    pub fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Notes whether credentials are being fetched now.
    pub fn fetching_credentials(&self, fetching: bool) {
        self.credentials.store(fetching, Ordering::Relaxed);
    }

    /// Whether credentials are being fetched now.
    pub fn is_fetching_credentials(&self) -> bool {
        self.credentials.load(Ordering::Relaxed)
    }
}

/// Somebody who waits for the network.
pub struct Waiting(Arc<CallContext>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long to wait before the next attempt: 100 ms, doubled each time.
pub(super) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(100) * 2_u32.saturating_pow(attempt.min(6) - 1)
}
