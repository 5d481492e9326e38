//! The gate: after a commit has passed it, the commit is no longer stopped.

use std::sync::atomic::{AtomicU8, Ordering};

/// Decides whether a call may still commit. A deadline closes the gate, or a commit passes it, never both. Nothing is
/// committed after the caller was informed that nothing was.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const CLOSED: u8 = 2;

impl Gate {
    /// Creates an open gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Passes the gate before a commit. Returns `true` once, unless the gate was closed.
    pub fn pass(&self) -> bool {
        self.0
            .compare_exchange(OPEN, PASSED, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Closes the gate at the deadline. Returns `true` if nothing will be committed. Returns `false` if the commit has
    /// begun, and the caller then waits for it.
    pub fn close(&self) -> bool {
        self.0
            .compare_exchange(OPEN, CLOSED, Ordering::SeqCst, Ordering::SeqCst)
            != Err(PASSED)
    }
}
