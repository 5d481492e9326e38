//! A moment on the monotonic clock after which a call gives up.

use std::time::{Duration, Instant};

/// The end of a call's time; `never` has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Option<Instant>,
}

impl Deadline {
    /// A call that may take for ever.
    pub const NEVER: Self = Self { at: None };

    /// So much time from now.
    pub fn after(duration: Duration) -> Self {
        // An addition that overflows is centuries away: never.
        Self {
            at: Instant::now().checked_add(duration),
        }
    }

    /// What is left; `None` where there is no end.
    pub fn remaining(self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether the moment has passed.
    pub fn has_passed(self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// The moment itself, if there is one.
    pub fn instant(self) -> Option<Instant> {
        self.at
    }
}
