//! What is known of the collections that run in the background.

use std::sync::atomic::AtomicBool;

use tokio::sync::watch;

use crate::core::sys::cancel::Cancel;

/// The background collections of one handle.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// Whether a collection waits for the writer lock: one is enough for all publishes before it.
    pub(super) is_waiting: AtomicBool,
    /// Number of collections that have not ended.
    pub(super) running: watch::Sender<usize>,
    /// Makes a collection that still waits for the lock leave its work to the next one.
    pub(super) closing: Cancel,
}
