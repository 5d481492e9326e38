//! The point after which a commit is no longer stopped.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a call may still commit. A deadline closes it, a commit passes it, and only one of them can: nothing
/// is committed after the caller was told that nothing was.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const CLOSED: u8 = 2;

impl Gate {
    /// A gate that is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// For the commit: true once, unless the gate was closed.
    pub fn pass(&self) -> bool {
        self.0
            .compare_exchange(OPEN, PASSED, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// For the deadline: true if nothing will be committed any more; false if the commit has begun, which is
    /// then waited for.
    pub fn close(&self) -> bool {
        self.0
            .compare_exchange(OPEN, CLOSED, Ordering::SeqCst, Ordering::SeqCst)
            != Err(PASSED)
    }
}
