//! Deadlines on the monotonic clock.

use std::time::{Duration, Instant};

/// Time at which a call gives up, or [`Deadline::NEVER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Option<Instant>,
}

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self { at: None };

    /// Deadline after this duration.
    pub fn after(duration: Duration) -> Self {
        // An overflow means centuries, which counts as never.
        Self {
            at: Instant::now().checked_add(duration),
        }
    }

    /// Remaining time. `None` if there is no deadline.
    pub fn remaining(self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether the deadline has passed.
    pub fn has_passed(self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// The deadline as an [`Instant`], if there is one.
    pub fn instant(self) -> Option<Instant> {
        self.at
    }
}
