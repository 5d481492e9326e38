//! Clocks that never step, in microseconds.

use rustix::time::{ClockId, clock_gettime};

/// Stops in suspend.
pub(crate) fn monotonic_micros() -> u64 {
    micros(ClockId::Monotonic)
}

/// Counts suspend.
pub(crate) fn boot_micros() -> u64 {
    micros(ClockId::Boottime)
}

fn micros(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1_000
}
